-- name: defer
-- A place in the queue for an unfinished job, or another time for the one that it has.
insert into procrastinate.procrastinate_jobs as ticket
       (queue_name, task_name, lock, queueing_lock, args, scheduled_at)
select lane, kind, id::text, id::text, jsonb_build_object('id', id),
       case when %(delay_s)s > 0 then clock_timestamp() + make_interval(secs => %(delay_s)s) end
from job where id = %(id)s and finished_at is null
on conflict (queueing_lock) where status = 'todo'
do update set queue_name = excluded.queue_name, scheduled_at = excluded.scheduled_at

-- name: abort
-- Tell whoever is at it to stop.
select procrastinate.procrastinate_cancel_job_v1(id, true, false)
from procrastinate.procrastinate_jobs where lock = %(id)s::text and status = 'doing'

-- name: drop
-- Tickets that were done with, and whose end could not be written.
delete from procrastinate.procrastinate_jobs where id = any(%(tickets)s) and status = 'doing'

-- name: drop_stalled
-- Tickets of workers that have not been heard of for too long. One that somebody has in hand stays until the next
-- time: procrastinate takes them from the dead, too, in an order of its own.
delete from procrastinate.procrastinate_jobs where id in (
    select id from procrastinate.procrastinate_jobs ticket
    where status = 'doing' and not exists (
        select from procrastinate.procrastinate_workers worker
        where worker.id = ticket.worker_id and last_heartbeat > now() - make_interval(secs => %(stalled_s)s))
    for update skip locked)

-- name: revive
-- Every unfinished job that can be done has a ticket: one that somebody holds, or one that waits.
with lost as (
    select id, lane, kind from job
    where finished_at is null and kind = any(%(kinds)s)
      and not exists (select from procrastinate.procrastinate_jobs t
                      where t.lock = job.id::text and t.status = 'doing')
      and not exists (select from procrastinate.procrastinate_jobs t
                      where t.queueing_lock = job.id::text and t.status = 'todo')
    for update skip locked
), put as (
    insert into procrastinate.procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args)
    select lane, kind, id::text, id::text, jsonb_build_object('id', id) from lost
    on conflict (queueing_lock) where status = 'todo' do nothing
), told as (
    update job set state = 'pending', updated_at = now() from lost where job.id = lost.id
    returning job.id, pg_notify('job', job.id::text)
)
select id from told

-- name: lead
-- Whether this session leads from now on; it does so until it ends.
select pg_try_advisory_lock(%(key)s)
