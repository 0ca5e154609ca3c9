-- name: take
-- Repos whose resync is due, the longest waiting first, under a lease: whoever crashes leaves them due again.
-- Those whose host or key is not known yet wait for their identity; hosts that have enough to do are passed over.
with due as (
    select id, state from repo
    where resync_due <= now() and active and pds is not null and signing_key is not null
          and pds <> all(%(busy)s)
    order by resync_due
    limit %(limit)s
    for update skip locked
)
update repo r
set resync_due = now() + make_interval(secs => %(lease_s)s),
    state = case r.state when 'active' then r.state else 'resyncing' end
from due
where r.id = due.id
returning r.id, r.did, r.pds, r.signing_key, due.state as was, r.rev, r.data, nullif(r.gaps, '[]') as gaps,
          r.resync_tries as tries

-- name: renew
-- A large repo takes longer than a lease.
update repo set resync_due = now() + make_interval(secs => %(lease_s)s) where id = %(id)s and resync_due is not null

-- name: release
-- Leases of a process that is gone: nobody but the one resyncer holds any.
update repo set resync_due = now() where state = 'resyncing' and resync_due > now() returning did

-- name: held
-- All that we hold of some repos, without the bytes.
select repo_id, collection, rkey, rev, cid, verified
from record
where repo_id = any(%(repo_ids)s) and collection = any(%(collections)s)

-- name: size
-- Whether a repo is large, without counting a large one to its end.
select count(*) from (select from record where repo_id = %(repo_id)s limit %(most)s) found

-- name: newest
-- What was heard of a repo, hearsay too.
select greatest(r.rev, (select max(rev) from record where repo_id = r.id and not verified))
from repo r where r.id = %(id)s

-- name: one_view
-- What is read from here on is of one moment.
set transaction isolation level repeatable read read only

-- name: chain
-- Where a repo stands in this view.
select rev, data, nullif(gaps, '[]'), synced_rev, forked_rev from repo where id = %(id)s

-- name: held_in_order
-- All that we hold of one repo in the order of its tree, as a stream: the order is by bytes, whatever
-- the database sorts by.
select collection, rkey, rev, cid, verified
from record
where repo_id = %(repo_id)s and collection = any(%(collections)s)
order by (collection || '/' || rkey) collate "C"

-- name: has_hearsay
-- Newer than what was read, and unproven.
select exists (select from record where repo_id = %(repo_id)s and not verified and rev > %(rev)s)

-- name: done
-- A repo was read whole: where it stands, in the transaction of what that changed.
update repo r
set rev = n.rev, data = n.data, gaps = n.gaps, state = n.state, synced_rev = n.synced_rev,
    forked_rev = n.forked_rev, checked_at = now(),
    resync_due = now() + make_interval(secs => n.due_s), resync_tries = n.tries, resync_error = n.error
from json_to_recordset(%(rows)s) as n
    (id int, rev text, data text, gaps jsonb, state text, synced_rev text, forked_rev text, due_s float, tries int,
     error text)
where r.id = n.id

-- name: put_back
-- A resync came to nothing. A repo whose gaps were closed by late frames meanwhile is left as it is.
with before as (
    select r.id, r.state, n.*
    from json_to_recordset(%(rows)s) as n
        (repo_id int, after text, due_s float, tries int, error text, account_s float, ask_identity boolean)
    join repo r on r.id = n.repo_id
    where r.resync_due is not null
    order by r.did
    for update of r
)
update repo r
set state = case b.state when 'resyncing' then b.after else b.state end,
    resync_due = now() + make_interval(secs => b.due_s),
    resync_tries = b.tries,
    resync_error = b.error,
    account_due = least(r.account_due, now() + make_interval(secs => b.account_s)),
    identity_due = case when b.ask_identity then now() else r.identity_due end
from before b
where r.id = b.id
returning r.did, b.state, r.state
