-- name: drop_stale
-- Of a job that has ended without a track: it does not stand in the way of the next one.
delete from track_media m
where m.did = %(did)s and m.original_id = %(original_id)s and m.rkey <> %(rkey)s and m.published_at is null
  and not exists (select from job j where j.id = m.job_id and j.finished_at is null)

-- name: begin
-- One track of this account has this sound, or none: no row comes back for the second.
insert into track_media (did, rkey, original_id, job_id)
values (%(did)s, %(rkey)s, %(original_id)s, %(job_id)s)
on conflict do nothing
returning rkey

-- name: holder
-- Who has this sound already.
select did, rkey, original_id, stream_id, cover_id, job_id, published_at
from track_media where did = %(did)s and original_id = %(original_id)s

-- name: get
-- One track's, locked until the transaction ends.
select did, rkey, original_id, stream_id, cover_id, job_id, published_at
from track_media where did = %(did)s and rkey = %(rkey)s for update

-- name: publish
-- Its record is on the PDS. Said again it changes nothing.
update track_media
set stream_id = %(stream_id)s, cover_id = %(cover_id)s,
    published_at = coalesce(published_at, now()), job_id = null
where did = %(did)s and rkey = %(rkey)s

-- name: give_up
-- What a job did not come to an end with.
delete from track_media where did = %(did)s and job_id = %(job_id)s and published_at is null

-- name: recover
-- Another cover.
update track_media set cover_id = %(cover_id)s where did = %(did)s and rkey = %(rkey)s

-- name: resound
-- Other sound.
update track_media
set original_id = %(original_id)s, stream_id = %(stream_id)s
where did = %(did)s and rkey = %(rkey)s

-- name: keep_revision
-- What it sounded like until now. The number is the next of this track.
insert into track_revision (did, rkey, revision, original_id, stream_id, replaced_at)
select m.did, m.rkey,
       1 + coalesce((select max(revision) from track_revision r where r.did = m.did and r.rkey = m.rkey), 0),
       m.original_id, m.stream_id, now()
from track_media m
where m.did = %(did)s and m.rkey = %(rkey)s and m.original_id is not null and m.stream_id is not null
returning revision, original_id, stream_id

-- name: revisions
-- What it sounded like before, the newest first.
select r.revision, r.replaced_at, r.original_id, r.stream_id, s.format as file_type, s.duration_s,
       case when r.original_id <> r.stream_id then o.format end as original_file_type
from track_revision r
join sound s on s.blob_id = r.stream_id
join sound o on o.blob_id = r.original_id
where r.did = %(did)s and r.rkey = %(rkey)s order by r.revision desc

-- name: drop_revisions
-- All but the newest.
delete from track_revision r
where did = %(did)s and rkey = %(rkey)s
  and revision <= (select max(revision) - %(keep)s from track_revision n where n.did = r.did and n.rkey = r.rkey)
returning revision

-- name: remove
-- The track is gone, and what it was before.
with before as (
    delete from track_revision where did = %(did)s and rkey = %(rkey)s
)
delete from track_media where did = %(did)s and rkey = %(rkey)s

-- name: left_behind
-- Tracks whose record is gone, or whose account is: those that were published some time ago, and are not known
-- any more, or only as deleted.
select m.did, m.rkey
from track_media m
left join repo p on p.did = m.did
left join record r on r.repo_id = p.id and r.collection = %(collection)s and r.rkey = m.rkey
where m.published_at < now() - make_interval(secs => %(age_s)s)
  and ((p.id is not null and r.rkey is not null and r.cid is null and r.verified)
       or exists (select from forgotten f where f.did_hash = sha256(convert_to(m.did, 'UTF8'))))
order by m.published_at limit %(limit)s
for update of m skip locked

-- name: hold
-- Nobody gives them other blobs any more; what somebody had begun is done, and the next statement sees it.
select from track_media where did = %(did)s order by rkey for update

-- name: release
-- All that a track and its revisions own; without a key, all of the account's tracks.
with owner as (
    select did || '/' || rkey as owner from track_media
    where did = %(did)s and (%(rkey)s::text is null or rkey = %(rkey)s)
    union all
    select did || '/' || rkey || '/' || revision from track_revision
    where did = %(did)s and (%(rkey)s::text is null or rkey = %(rkey)s)
), gone as (
    delete from blob_owner o using owner w where o.kind = 'track' and o.owner = w.owner returning blob_id
), counted as (
    select blob_id, count(*) as n from gone group by 1
)
update blob b set owners = owners - c.n, unowned_at = case when owners = c.n then now() else unowned_at end
from counted c where b.id = c.blob_id

-- name: erase
-- Their rows, after what they own.
with before as (
    delete from track_revision where did = %(did)s
)
delete from track_media where did = %(did)s

-- name: erase_uploads
-- Bytes of theirs that are on their way in.
delete from staged_upload where did = %(did)s

-- name: of_id
-- The track of this number.
select p.did, t.rkey from track t join repo p on p.id = t.repo_id where t.id = %(id)s

-- name: ensure
-- One that was made elsewhere, and is changed here.
insert into track_media (did, rkey, published_at) values (%(did)s, %(rkey)s, now()) on conflict do nothing

-- name: version
-- What we hold under this key, proven or not, a tombstone included.
select r.rev, r.block from record r join repo p on p.id = r.repo_id
where p.did = %(did)s and r.collection = %(collection)s and r.rkey = %(rkey)s

-- name: track_id
-- The number under which a track is known, if it is.
select id from track_uri where uri = %(uri)s

-- name: is_deleted
-- Its row goes with a delete here, its record with one elsewhere.
select not exists (select from track_media where did = %(did)s and rkey = %(rkey)s)
    or exists (
        select from record r join repo p on p.id = r.repo_id
        where p.did = %(did)s and r.collection = %(collection)s and r.rkey = %(rkey)s and r.cid is null and r.verified)

-- name: artist
-- How an account is called: by the name that it gave itself, else by its handle.
select coalesce(
    (select p.display_name from profile p join repo r on r.id = p.repo_id where r.did = %(did)s),
    (select handle from repo where did = %(did)s),
    (select handle from session where did = %(did)s and handle is not null order by id desc limit 1),
    %(did)s)
