-- name: lock
-- One upload of an account is begun at a time, so that their number holds; and neither that nor a sign-in goes on
-- beside its deletion. Until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('upload ' || %(did)s, 0))

-- name: unfinished
-- Uploads whose job is not done, and those on their way in: in one piece as long as they move, in parts as long as
-- they are kept. A new sound for a track is one, too.
select (select count(*) from job
        where did = %(did)s and kind in ('upload', 'replace') and finished_at is null)
     + (select count(*) from staged_upload s
        where did = %(did)s and part = 'sound'
          and (plan is not null or touched_at > now() - make_interval(secs => %(moving_s)s))
          and not exists (select from job j
                          where j.did = s.did and j.kind in ('upload', 'replace') and j.subject = s.name))

-- name: begin
-- Before its first byte.
insert into staged_upload (name, did, bytes, part, plan)
values (%(name)s, %(did)s, %(bytes)s, %(part)s, %(plan)s::jsonb)

-- name: resumable
-- One that comes in parts, for its owner.
select name, did, bytes, plan, touched_at from staged_upload
where name = %(name)s and did = %(did)s and plan is not null

-- name: resumables
-- All of them, for who has lost their addresses.
select s.name, s.did, s.bytes, s.plan, s.touched_at from staged_upload s
where s.did = %(did)s and s.plan is not null
  and not exists (select from job j where j.did = s.did and j.kind = 'upload' and j.subject = s.name)
order by s.touched_at desc

-- name: lease
-- One may add to it at a time.
update staged_upload
set lease = %(lease)s, lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s), touched_at = now()
where name = %(name)s and plan is not null
  and (lease is null or lease = %(lease)s or lease_until < clock_timestamp())
returning name

-- name: release
-- The next may.
update staged_upload set lease = null, lease_until = null where name = %(name)s and lease = %(lease)s

-- name: drop
-- It is given up, by whoever may add to it.
delete from staged_upload where name = %(name)s and lease = %(lease)s

-- name: job_of
-- What became of an upload, ended or not.
select id, coalesce((args ->> 'bytes')::bigint, 0) from job
where did = %(did)s and kind = 'upload' and subject = %(name)s
order by created_at desc limit 1
