-- name: add
-- A person asks to be forgotten; who asked already is on the way, which an empty change reads and holds.
insert into account_deletion (did, session_id, remove_records, step, counts, warnings)
values (%(did)s, %(session_id)s, %(remove_records)s, %(step)s, %(counts)s, %(warnings)s)
on conflict (did) where finished_at is null do update set did = excluded.did
returning id, xmax = 0

-- name: take
-- Those whose time has come, or whom somebody left who is gone, and whose next step can be done here. The lease lets
-- nobody else take them, and runs out if we crash.
update account_deletion d
set due = now() + make_interval(secs => %(lease_s)s), holder = %(holder)s
from (
    select id from account_deletion
    where (due <= now() or due is not null and holder = any(%(gone)s))
          and step = any(%(steps)s) and (%(id)s::bigint is null or id = %(id)s)
    order by due limit %(limit)s
    for update skip locked
) free
where d.id = free.id
returning d.id, d.did, d.session_id, d.remove_records, d.step, d.counts, d.warnings, d.attempts, d.due, d.upto_seq,
          d.requested_at

-- name: holders
-- The processes that have a lease.
select distinct holder from account_deletion where due > now() and holder is not null

-- name: advance
-- A step is done, and the next is written down with it. Only by whoever has the lease.
update account_deletion
set step = %(step)s, counts = counts || %(counts)s, warnings = warnings || %(warnings)s, attempts = 0, error = null,
    holder = null, upto_seq = coalesce(%(upto_seq)s, upto_seq), due = now() + make_interval(secs => %(wait_s)s)
where id = %(id)s and due = %(due)s
returning id

-- name: note
-- What a step has found out so far, for whoever goes on; and more time for it.
update account_deletion
set counts = counts || %(counts)s, due = now() + make_interval(secs => %(lease_s)s)
where id = %(id)s and due = %(due)s
returning due

-- name: postpone
-- It did not work out yet.
update account_deletion
set attempts = attempts + 1, error = %(error)s, due = now() + make_interval(secs => %(wait_s)s), holder = null
where id = %(id)s and due = %(due)s

-- name: finish
-- Nothing that is left says who it was.
update account_deletion
set step = 'done', did = null, session_id = null, error = null, due = null, holder = null, finished_at = now(),
    counts = counts || %(counts)s
where id = %(id)s and due = %(due)s
returning id

-- name: outcome
-- For who asked, while they wait.
select step, counts, warnings, error from account_deletion where id = %(id)s

-- name: counted
-- What an account has here, and what others have made of it that will point at nothing.
select (select count(*) from track where repo_id = r.id)::int as tracks,
       ((select count(*) from list where repo_id = r.id and list_type = 'album')
        + (select count(distinct album_id) from track t
           where repo_id = r.id and not exists (select from list l where l.album_id = t.album_id)))::int as albums,
       (select count(*) from "like" where repo_id = r.id)::int as likes,
       (select count(*) from comment where repo_id = r.id)::int as comments,
       (select count(distinct o.blob_id) from blob_owner o
        where o.kind in ('track', 'list') and starts_with(o.owner, r.did || '/') and not exists (
            select from blob_owner other
            where other.blob_id = o.blob_id and not starts_with(other.owner, r.did || '/')))::int as blobs,
       (select count(*) from "like" l join track t on t.id = l.track_id
        where t.repo_id = r.id and l.repo_id <> r.id)::int as orphaned_likes,
       (select count(*) from comment c join track t on t.id = c.track_id
        where t.repo_id = r.id and c.repo_id <> r.id)::int as orphaned_comments,
       (select count(distinct l.id) from list l join list_item i on i.list_id = l.id join track t on t.id = i.track_id
        where t.repo_id = r.id and l.repo_id <> r.id)::int as orphaned_lists
from repo r where r.did = %(did)s

-- name: sessions
-- Everything that was given out in this account's name when it asked. Who signs in afterwards stays.
select id from session where did = %(did)s and created_at <= %(requested_at)s

-- name: granted
-- A session whose grant can act on the PDS, the one that asked first.
select id from session
where did = %(did)s and ended_at is null and credentials is not null and created_at <= %(requested_at)s
order by id = %(session_id)s desc, used_at desc limit 1

-- name: leaving
-- Whether an account is being deleted.
select exists (select from account_deletion where did = %(did)s and finished_at is null)

-- name: writing
-- Whether something of theirs is about to be written to their PDS: a job that moves, a like, a comment. One whose
-- process died is not waited for.
select exists (select from job where did = %(did)s and state = 'running' and updated_at > now() - interval '5 minutes')
    or exists (select from write_turn where did = %(did)s and held_until > now()
               and (holder_pid is null or exists (
                   select from pg_stat_get_activity(holder_pid) held
                   where coalesce(held.backend_start = holder_since, true))))
    or exists (select from comment_claim where did = %(did)s and held_until > now())

-- name: unreturned
-- Grants that their servers were not told about yet.
select count(*)::int from session where id = any(%(ids)s) and credentials is not null

-- name: remove_access
-- Nothing is left of who was signed in. What an audit must keep says that it happened, and to nobody.
with flows as (
    delete from oauth_flow where session_id = any(%(ids)s)
), tokens as (
    delete from used_token where issuer = %(did)s or starts_with(issuer, %(did)s || '#')
), audit as (
    delete from audit_event where did = %(did)s or session = any(%(ids)s)
)
delete from session where id = any(%(ids)s)

-- name: came_back
-- Whether somebody signed in with it after it asked to be forgotten.
select exists (select from session
               where did = %(did)s and kind = 'browser' and ended_at is null and created_at > %(requested_at)s)
