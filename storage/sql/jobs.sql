-- name: add
-- One unfinished job about a subject at a time: no row comes back where there is one.
insert into job (kind, did, subject, args) values (%(kind)s, %(did)s, %(subject)s, %(args)s::jsonb)
on conflict (kind, subject) where finished_at is null do nothing
returning id

-- name: get
-- As it stands.
select id, kind, did, subject, args, state, phase, facts, progress, message, attempts, error, warnings, result,
       created_at, updated_at, finished_at
from job where id = %(id)s

-- name: unfinished_about
-- The one that is about this subject.
select id, kind, did, subject, args, state, phase, facts, progress, message, attempts, error, warnings, result,
       created_at, updated_at, finished_at
from job where kind = %(kind)s and subject = %(subject)s and finished_at is null

-- name: of
-- Somebody's newest.
select id, kind, did, subject, args, state, phase, facts, progress, message, attempts, error, warnings, result,
       created_at, updated_at, finished_at
from job where did = %(did)s and (%(kind)s::text is null or kind = %(kind)s)
order by created_at desc limit %(limit)s

-- name: begin
-- Another attempt. No row comes back for one that has ended.
update job set state = 'running', attempts = attempts + 1, updated_at = now()
where id = %(id)s and finished_at is null
returning id, kind, did, subject, args, state, phase, facts, progress, message, attempts, error, warnings, result,
       created_at, updated_at, finished_at

-- name: report
-- Where it is; whoever listens is told.
with told as (
    update job set phase = %(phase)s, message = %(message)s, progress = %(progress)s, updated_at = now()
    where id = %(id)s and finished_at is null returning id
)
select pg_notify('job', id::text) from told

-- name: save
-- What a step came to, in the transaction of its effects.
update job set facts = facts || %(facts)s::jsonb, warnings = warnings || %(warnings)s::jsonb, updated_at = now()
where id = %(id)s and finished_at is null returning id

-- name: wait
-- It is tried again later.
with told as (
    update job set state = 'pending', message = %(message)s, updated_at = now()
    where id = %(id)s and finished_at is null returning id
)
select pg_notify('job', id::text) from told

-- name: finish
-- For good: the first word counts.
with told as (
    update job
    set state = %(state)s, error = %(error)s, result = %(result)s::jsonb, message = %(message)s, finished_at = now(),
        progress = case when %(state)s = 'done' then 1 else progress end, updated_at = now()
    where id = %(id)s and finished_at is null returning id
), heard as (
    select pg_notify('job', id::text) from told
)
select told.id from told, heard
