-- name: find
-- Tracks whose record names a blob that nobody looked after yet: new ones, and such as have another version since.
-- Those made here have an original, and are none of this.
insert into mirror (did, rkey, record_cid)
select r.did, t.rkey, t.cid
from track t
join repo r on r.id = t.repo_id
left join track_media m on m.did = r.did and m.rkey = t.rkey
left join mirror w on w.did = r.did and w.rkey = t.rkey
where t.card like '%%"audioBlob":{%%' and m.original_id is null and w.record_cid is distinct from t.cid
limit %(limit)s
on conflict (did, rkey) do update
    set record_cid = excluded.record_cid, attempts = 0, due = now(), error = null, updated_at = now()

-- name: drop_gone
-- Tracks that are no more, or were uploaded here since.
delete from mirror w
where not exists (select from repo r join track t on t.repo_id = r.id and t.rkey = w.rkey where r.did = w.did)

-- name: due
-- Whose time has come; nobody asks for what is not shown.
select w.did, w.rkey
from mirror w
join repo r on r.did = w.did
join profile v on v.repo_id = r.id and not v.hidden
where w.due <= now() and r.pds is not null
order by w.due limit %(limit)s

-- name: wanted
-- All that it takes to fetch one.
select w.did, w.rkey, w.record_cid, w.attempts, r.pds, c.block, c.collection
from mirror w
join repo r on r.did = w.did
join profile v on v.repo_id = r.id and not v.hidden
join track t on t.repo_id = r.id and t.rkey = w.rkey and t.cid = w.record_cid
join record c on c.repo_id = r.id and c.collection = %(collection)s and c.rkey = w.rkey and c.cid = t.cid
left join track_media m on m.did = w.did and m.rkey = w.rkey
where w.did = %(did)s and w.rkey = %(rkey)s and r.pds is not null and m.original_id is null

-- name: put
-- What is played of the track from now on, if it still is this version and was not made here; and what was before.
with track_is as (
    select r.did, t.rkey from repo r join track t on t.repo_id = r.id
    where r.did = %(did)s and t.rkey = %(rkey)s and t.cid = %(record_cid)s for share of t
), before as (
    select m.stream_id from track_media m join track_is using (did, rkey)
), done as (
    insert into track_media (did, rkey, stream_id, published_at)
    select did, rkey, %(stream_id)s, now() from track_is
    on conflict (did, rkey) do update set stream_id = excluded.stream_id where track_media.original_id is null
    returning 1
)
select (select stream_id from before) from done

-- name: settle
-- How it went with this version. Due null: for good.
update mirror
set attempts = case when %(error)s::text is null then 0 else attempts + 1 end, error = %(error)s,
    due = now() + make_interval(secs => %(wait_s)s::float8), updated_at = now()
where did = %(did)s and rkey = %(rkey)s and record_cid = %(record_cid)s

-- name: postpone
-- Nobody said how it went.
update mirror set due = now() + make_interval(secs => %(wait_s)s), attempts = attempts + 1, updated_at = now()
where did = %(did)s and rkey = %(rkey)s and due <= now()

-- name: erase
-- Who leaves leaves nothing here.
delete from mirror where did = %(did)s
