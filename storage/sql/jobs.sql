-- name: add
-- One unfinished job about a subject at a time: no row comes back where there is one.
insert into job (kind, did, subject, args, lane)
values (%(kind)s, %(did)s, %(subject)s, %(args)s::jsonb, %(lane)s)
on conflict (kind, subject) where finished_at is null do nothing
returning id

-- name: get
-- As it stands.
select id, kind, did, subject, args, state, phase, facts, progress, message, attempts, error, warnings, result,
       created_at, updated_at, finished_at, cancel_asked_at, uncounted
from job where id = %(id)s

-- name: unfinished_about
-- The one that is about this subject.
select id, kind, did, subject, args, state, phase, facts, progress, message, attempts, error, warnings, result,
       created_at, updated_at, finished_at, cancel_asked_at, uncounted
from job where kind = %(kind)s and subject = %(subject)s and finished_at is null

-- name: of
-- Somebody's newest.
select id, kind, did, subject, args, state, phase, facts, progress, message, attempts, error, warnings, result,
       created_at, updated_at, finished_at, cancel_asked_at, uncounted
from job where did = %(did)s and (%(kind)s::text is null or kind = %(kind)s)
order by created_at desc limit %(limit)s

-- name: listed
-- The newest of all, for the operator; the house's own that ended well only if asked for.
select id, kind, did, subject, args, state, phase, facts, progress, message, attempts, error, warnings, result,
       created_at, updated_at, finished_at, cancel_asked_at, uncounted
from job
where (%(kind)s::text is null or kind = %(kind)s) and (%(did)s::text is null or did = %(did)s)
  and (%(state)s::text is null or state = %(state)s)
  and (%(house)s or did is not null or state <> 'done')
order by created_at desc, id limit %(limit)s

-- name: begin
-- Another attempt. No row comes back for one that has ended.
with told as (
    update job set state = 'running', attempts = attempts + 1, updated_at = now()
    where id = %(id)s and finished_at is null
    returning id, kind, did, subject, args, state, phase, facts, progress, message, attempts, error, warnings, result,
              created_at, updated_at, finished_at, cancel_asked_at, uncounted
), heard as (
    select pg_notify('job', id::text) from told
)
select told.* from told, heard

-- name: report
-- Where it is; whoever listens is told. Says whether somebody wants it to end.
with told as (
    update job set phase = %(phase)s, message = %(message)s, progress = %(progress)s, updated_at = now()
    where id = %(id)s and finished_at is null and (%(attempt)s::int is null or attempts = %(attempt)s)
    returning id, cancel_asked_at is not null as cancel_asked
)
select cancel_asked, pg_notify('job', id::text) from told

-- name: save
-- What a step came to, in the transaction of its effects.
update job set facts = facts || %(facts)s::jsonb, warnings = warnings || %(warnings)s::jsonb, updated_at = now()
where id = %(id)s and finished_at is null and (%(attempt)s::int is null or attempts = %(attempt)s)
returning id

-- name: wait
-- It is tried again later.
with told as (
    update job set state = 'pending', message = %(message)s, updated_at = now(),
                   uncounted = uncounted + case when %(counts)s then 0 else 1 end
    where id = %(id)s and finished_at is null and (%(attempt)s::int is null or attempts = %(attempt)s)
    returning id
)
select pg_notify('job', id::text) from told

-- name: give_back
-- Its process is told to stop: that attempt does not count.
with told as (
    update job set state = 'pending', uncounted = uncounted + 1, updated_at = now()
    where id = %(id)s and finished_at is null and attempts = %(attempt)s returning id
)
select pg_notify('job', id::text) from told

-- name: doom
-- It cannot be done: from now on it is only undone. Whoever reads the error before its end knows why.
update job set error = %(error)s, updated_at = now()
where id = %(id)s and finished_at is null and attempts = %(attempt)s returning id

-- name: ask_to_end
-- Somebody wants it to end, which it will once it is undone. No row comes back for one that has ended.
with told as (
    update job set cancel_asked_at = coalesce(cancel_asked_at, now()), updated_at = now()
    where id = %(id)s and finished_at is null returning id
)
select pg_notify('job', id::text) from told

-- name: ask_all_to_end
-- All of somebody's, however far they are.
with told as (
    update job set cancel_asked_at = coalesce(cancel_asked_at, now()), updated_at = now()
    where did = %(did)s and finished_at is null returning id
)
select pg_notify('job', id::text) from told

-- name: finish
-- For good: the first word counts.
with told as (
    update job
    set state = %(state)s, error = %(error)s, result = %(result)s::jsonb, message = %(message)s, finished_at = now(),
        progress = case when %(state)s = 'done' then 1 else progress end, updated_at = now()
    where id = %(id)s and finished_at is null and (%(attempt)s::int is null or attempts = %(attempt)s)
    returning id
), heard as (
    select pg_notify('job', id::text) from told
)
select told.id from told, heard

-- name: again
-- A person has it done again from its beginning: what it had done was undone, or that is waited for. Of no use
-- while another about the same subject is not finished.
with told as (
    update job
    set state = 'pending', phase = null, facts = '{}', progress = null, message = null, uncounted = attempts,
        error = null, warnings = '[]', result = null, finished_at = null, cancel_asked_at = null, updated_at = now()
    where id = %(id)s and state in ('failed', 'cancelled')
      and not exists (select from job other where other.kind = job.kind and other.subject = job.subject
                      and other.finished_at is null)
      and not exists (select from blob_owner where blob_owner.kind = 'job' and owner = job.id::text)
    returning id
)
select pg_notify('job', id::text) from told

-- name: unfinished
-- How many of each kind are not finished.
select kind, count(*) from job where finished_at is null group by kind

-- name: states
-- How many are in each state.
select state, count(*) from job group by state

-- name: last_of
-- When a kind was last put into the queue.
select max(created_at) from job where kind = %(kind)s

-- name: left_over
-- What has ended, and was not undone: its blobs are still its own.
select id, kind, did, subject, args, state, phase, facts, progress, message, attempts, error, warnings, result,
       created_at, updated_at, finished_at, cancel_asked_at, uncounted
from job
where finished_at is not null and kind = any(%(kinds)s)
  and id in (select owner::uuid from blob_owner where blob_owner.kind = 'job')
order by finished_at

-- name: forget_old
-- Ended long ago; what the house did well, sooner. What owns blobs stays, or nobody would let go of them; so does
-- the newest of each kind: from it the scheduler knows when the next is due.
delete from job
where finished_at < now() - make_interval(
          days => case when did is null and state = 'done' then %(house_days)s else %(days)s end)
  and created_at < (select max(created_at) from job newest where newest.kind = job.kind)
  and not exists (select from blob_owner where blob_owner.kind in ('job', 'export') and owner = job.id::text)

-- name: hold
-- Nobody does them any more; what a step had begun is done, and the next statement sees what it owns.
select from job where did = %(did)s or starts_with(subject, %(did)s::text || '/') order by id for update

-- name: erase
-- Who leaves takes their jobs along, and those of the house about their tracks, and what these own. An attempt that
-- is on cannot save any more.
with own as (
    delete from job where did = %(did)s or starts_with(subject, %(did)s::text || '/') returning id::text as owner
), gone as (
    delete from blob_owner o using own where o.kind in ('job', 'export') and o.owner = own.owner
    returning o.blob_id
), released as (
    select blob_id, count(*) as n from gone group by 1
)
update blob b set owners = b.owners - n, unowned_at = case when b.owners = n then now() end
from released where b.id = released.blob_id
