-- name: reserve
-- Before the object exists. One that nobody owns gets its whole grace again; one that is being deleted is not
-- to be had.
insert into blob (area, sha256, bytes, crc32, mime, state)
values (%(area)s, %(sha256)s, %(bytes)s, %(crc32)s, %(mime)s, 'publishing')
on conflict (area, sha256) do update
    set unowned_at = case when blob.unowned_at is null then null else now() end
    where blob.state <> 'deleting'
returning id, area, encode(sha256, 'hex') as sha256, bytes, crc32, mime, state, owners, unowned_at

-- name: publish
-- The object is there.
update blob set state = 'published' where id = %(id)s and state <> 'deleting' returning id

-- name: by_key
-- By what a store calls it.
select id, area, encode(sha256, 'hex') as sha256, bytes, crc32, mime, state, owners, unowned_at
from blob where area = %(area)s and sha256 = %(sha256)s

-- name: by_id
-- By what other tables call it.
select id, area, encode(sha256, 'hex') as sha256, bytes, crc32, mime, state, owners, unowned_at
from blob where id = %(id)s

-- name: page
-- For the audit, in the order in which a store lists.
select id, area, encode(sha256, 'hex') as sha256, bytes, crc32, mime, state, owners, unowned_at
from blob where area = %(area)s and sha256 > %(after)s
order by sha256 limit %(limit)s

-- name: claim
-- The same owner twice is one owner. No row comes back for a blob that is not published, or being deleted.
with added as (
    insert into blob_owner (kind, owner, blob_id) values (%(kind)s, %(owner)s, %(id)s)
    on conflict do nothing returning 1
)
update blob set owners = owners + (select count(*) from added), unowned_at = null
where id = %(id)s and state = 'published' returning owners

-- name: release
-- Its grace begins when the last owner goes.
with gone as (
    delete from blob_owner
    where kind = %(kind)s and owner = %(owner)s and (%(id)s::bigint is null or blob_id = %(id)s)
    returning blob_id
)
update blob set owners = owners - 1, unowned_at = case when owners = 1 then now() end
from gone where id = blob_id returning id

-- name: owned
-- What something holds on to.
select b.id, area, encode(sha256, 'hex') as sha256, bytes, crc32, mime, state, owners, unowned_at
from blob b join blob_owner o on o.blob_id = b.id
where o.kind = %(kind)s and o.owner = %(owner)s order by b.id

-- name: take
-- What nobody owned for the whole grace, and what somebody began to delete and did not finish. The owners
-- themselves are asked, too: a count may be wrong, and what is deleted does not come back.
update blob set state = 'deleting', lease_until = now() + make_interval(secs => %(lease_s)s)
where id in (
    select id from blob
    where unowned_at < now() - make_interval(secs => %(grace_s)s) and owners = 0
      and (state <> 'deleting' or lease_until < now())
      and not exists (select from blob_owner where blob_id = blob.id)
    order by unowned_at limit %(limit)s for update skip locked
)
returning id, area, encode(sha256, 'hex') as sha256, bytes, crc32, mime, state, owners, unowned_at

-- name: forget
-- After the object. An image or sound lets go of its renditions; their grace begins.
with forgotten as (
    delete from blob where id = %(id)s and state = 'deleting' returning id
), gone as (
    delete from blob_owner using forgotten
    where kind in ('image', 'sound') and owner = forgotten.id::text returning blob_id
)
update blob set owners = owners - 1, unowned_at = case when owners = 1 then now() end
from gone where id = blob_id

-- name: miscounted
-- Where the count of owners is not their number; nothing should ever be here.
select id, area, encode(sha256, 'hex') as sha256, bytes, crc32, mime, state, b.owners, unowned_at
from blob b left join (select blob_id, count(*) as n from blob_owner group by 1) o on o.blob_id = b.id
where b.owners <> coalesce(o.n, 0) or (b.owners = 0) <> (b.unowned_at is not null) order by id

-- name: upload
-- How it stands.
select name, did, bytes, touched_at from staged_upload where name = %(name)s

-- name: touch_upload
-- It moves: keep it.
update staged_upload set touched_at = now() where name = %(name)s

-- name: end_upload
-- Its bytes are published, or dropped.
delete from staged_upload where name = %(name)s

-- name: uploads
-- All of them: there are as many as people uploading.
select name, did, bytes, touched_at from staged_upload order by name

-- name: end_stale_upload
-- Unless it moved meanwhile, or a job has yet to make something of it.
delete from staged_upload u
where name = %(name)s and touched_at < now() - make_interval(secs => %(keep_s)s)
  and not exists (select from job where finished_at is null
                  and (args->>'name' = u.name or args->'cover'->>'name' = u.name))
returning name
