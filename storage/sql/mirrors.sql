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

-- name: changed
-- Tracks whose record has another version than the one whose sound is here, whatever that names.
select w.did, w.rkey, t.cid as record_cid, c.collection, c.block, m.stream_id, b.sha256
from mirror w
join track_media m on m.did = w.did and m.rkey = w.rkey and m.original_id is null
join blob b on b.id = m.stream_id
join repo r on r.did = w.did
join track t on t.repo_id = r.id and t.rkey = w.rkey and t.cid <> w.record_cid
join record c on c.repo_id = r.id and c.collection = %(collection)s and c.rkey = w.rkey and c.cid = t.cid
limit %(limit)s

-- name: keep
-- Nothing is to be fetched for this version.
update mirror set record_cid = %(record_cid)s, due = null, error = null, attempts = 0, updated_at = now()
where did = %(did)s and rkey = %(rkey)s

-- name: let_go
-- It plays nothing, until what it names now is here.
update track_media set stream_id = null
where did = %(did)s and rkey = %(rkey)s and stream_id = %(stream_id)s and original_id is null

-- name: due
-- Whose time has come: of each PDS so many that it has no more jobs than it may with those that it has, and there a
-- turn for each account before any has a second. Nobody asks for what is not shown.
with busy as (
    select r.did, r.pds, j.args ->> 'rkey' as rkey
    from job j join repo r on r.did = j.args ->> 'did' where j.kind = %(kind)s and j.finished_at is null
), waiting as (
    select w.did, w.rkey, w.due, r.pds,
           coalesce(a.jobs, 0) + row_number() over (partition by w.did order by w.due, w.rkey) as nth
    from mirror w
    join repo r on r.did = w.did
    join profile v on v.repo_id = r.id and not v.hidden
    left join (select did, count(*) as jobs from busy group by did) a on a.did = w.did
    where w.due <= now() and r.pds is not null
      and not exists (select from busy b where b.did = w.did and b.rkey = w.rkey)
), placed as (
    select w.did, w.rkey, w.due,
           coalesce(p.jobs, 0) + row_number() over (partition by w.pds order by w.nth, w.due, w.did) as place
    from waiting w
    left join (select pds, count(*) as jobs from busy group by pds) p on p.pds = w.pds
)
select did, rkey from placed where place <= %(per_pds)s order by due, did limit %(limit)s

-- name: used
-- Bytes of what is mirrored of all, and of this account's other tracks, with what was made of it. Sound that nobody owns counts for all: until
-- the collector takes it, it may be of a track that was deleted to make room.
select (select coalesce(sum(b.bytes), 0)::bigint from blob b
         where b.area = 'audio'
           and (b.unowned_at is not null or b.id in (select stream_id from track_media where original_id is null)
                or b.id in (select rendition_id from sound_rendition where format = 'mp3'))),
       (select coalesce(sum(b.bytes), 0)::bigint from blob b
         where b.id in (select unnest(array[m.stream_id, n.rendition_id])
                          from track_media m left join sound_rendition n on n.blob_id = m.stream_id and n.format = 'mp3'
                         where m.did = %(did)s and m.rkey <> %(rkey)s and m.original_id is null))

-- name: leave
-- What is due, of everybody or of accounts that have as much here as may be, is left alone for a while.
update mirror w
set error = %(error)s, due = now() + make_interval(secs => %(wait_s)s), updated_at = now()
where w.due <= now()
  and (%(all)s or w.did in (
      select m.did from (select distinct did, unnest(array[stream_id, rendition_id]) as id
                           from track_media left join sound_rendition on blob_id = stream_id and format = 'mp3'
                          where original_id is null and did in (select did from mirror where due <= now())) m
      join blob b on b.id = m.id group by m.did having sum(b.bytes) >= %(account_bytes)s))

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
