-- name: drop_gone
-- Tracks that are no more.
delete from far_sound f where not exists (select from track t where t.id = f.track_id)

-- name: find
-- Tracks with an address that nobody asked yet: new ones, and such as have another version since. What is known of an
-- address stays until it is asked again.
insert into far_sound (track_id, record_cid)
select t.id, t.cid
  from track t
 where t.rest not like '%%"audio_storage":"pds"%%'
   and not exists (select from far_sound f where f.track_id = t.id and f.record_cid = t.cid)
 limit %(limit)s
on conflict (track_id) do update set record_cid = excluded.record_cid, attempts = 0, due = now()

-- name: due
-- Whose time has come, with what REST shows of them.
select f.track_id, f.record_cid, f.attempts, t.rest
  from far_sound f join track t on t.id = f.track_id
 where f.due <= now() and t.rest is not null
 order by f.due limit %(limit)s

-- name: note
-- How it went. Of another version of the record meanwhile it says nothing about when that is asked.
update far_sound
   set url = %(url)s, error = %(error)s, checked_at = now(),
       attempts = case when %(error)s::text is null then 0 else attempts + 1 end,
       due = case when record_cid = %(record_cid)s then now() + make_interval(secs => %(wait_s)s::float8) else due end
 where track_id = %(track_id)s
