-- name: take
-- Accounts to ask about, the longest waiting first. The lease lets nobody else take them, and runs out if
-- we crash.
update repo r
set account_due = now() + make_interval(secs => %(lease_s)s)
from (
    select id from repo where account_due <= now() order by account_due limit %(limit)s for update skip locked
) due
where r.id = due.id
returning r.id, r.did, r.account_due, r.account_tries, r.account_claim, r.account_source, r.account_seq

-- name: check
-- Have these asked about now.
update repo set account_due = now(), account_tries = 0 where did = any(%(dids)s)

-- name: postpone
-- Whoever could not tell changed nothing; ask again later, with doubling patience up to six hours. If the
-- account was heard of meanwhile, its due time is not the lease any more and stays.
update repo
set account_tries = account_tries + 1,
    account_due = case when account_due = %(lease)s then now() + greatest(
        make_interval(secs => %(wait_s)s),
        least(interval '6 hours', interval '2 seconds' * power(2, least(account_tries, 14)))) else account_due end
where id = %(id)s

-- name: settle
-- What its own PDS said. Of an account that is out of sight nothing is fetched; one that is active is
-- fetched now if something is missing, or if a host would not give it, which may have been the one that it
-- left. A word that came during the question is not answered yet.
update repo
set active = %(active)s, status = %(status)s,
    account_tries = 0,
    account_claim = case when account_due = %(lease)s then null else account_claim end,
    account_due = case when account_due = %(lease)s then now() + make_interval(secs => %(again_s)s)
                  else account_due end,
    resync_due = case when not %(active)s then null
                      when state = 'active' and resync_error is null then resync_due
                      when not active then now()
                      else coalesce(resync_due, now()) end,
    resync_tries = case when %(active)s and not active then 0 else resync_tries end,
    checked_at = case when %(active)s and not active then null else checked_at end
where id = %(id)s
returning account_due

-- name: last_rev
-- Records may be newer than the last verified commit where they could not be proven, or were found to be of
-- another history.
select greatest(r.rev, r.forked_rev, (select max(rev) from record where repo_id = r.id)) from repo r where r.id = %(id)s

-- name: begin_anew
-- A deleted account: whatever it writes from now on is a new beginning, whatever it wrote is known.
update repo
set state = 'pending', gaps = %(gaps)s, synced_rev = greatest(synced_rev, %(last)s), resync_due = null,
    resync_error = null, resync_tries = 0
where id = %(id)s

-- name: erase_records
-- Tombstones at the last rev that we know: what comes late is older, what a new beginning brings is not. What was
-- made of these records goes with them, so that a deletion that stops halfway leaves either both or none. The
-- account's likes and comments were taken out of the counters when it went out of sight.
with gone as materialized (
    select collection, rkey from record
    where repo_id = %(id)s and cid is not null and rev <= %(rev)s and (collection, rkey) > (%(collection)s, %(rkey)s)
    order by collection, rkey limit %(limit)s
), erased as (
    update record r
    set cid = null, block = null, invalid = null, verified = true, rev = %(rev)s
    from gone
    where r.repo_id = %(id)s and (r.collection, r.rkey) = (gone.collection, gone.rkey)
    returning r.collection, r.rkey, r.rev
), tracks as (
    delete from track
    where repo_id = %(id)s and rkey in (select rkey from gone where collection = %(track)s)
), likes as (
    delete from "like"
    where repo_id = %(id)s and rkey in (select rkey from gone where collection = %(like)s)
), comments as (
    delete from comment
    where repo_id = %(id)s and rkey in (select rkey from gone where collection = %(comment)s)
), lists as (
    delete from list
    where repo_id = %(id)s and rkey in (select rkey from gone where collection = %(list)s)
)
select collection, rkey, rev from erased order by collection, rkey

-- name: erase_proofs
-- What proved them.
delete from commit_proof where repo_id = %(id)s and rev <= %(rev)s

-- name: erased
-- Done, and the lease is given back.
update repo set account_due = null where id = %(id)s and account_due = %(lease)s

-- name: take_down
-- Our own decision, apart from upstream's; null lifts it.
update repo set taken_down = %(reason)s where id = %(id)s

-- name: withhold
-- Likewise, apart from everything that is said about accounts and records: bytes by their hash.
update repo
set withheld = case when %(reason)s::text is null then nullif(withheld - %(sha256)s::text, '{}')
               else coalesce(withheld, '{}') || jsonb_build_object(%(sha256)s::text, %(reason)s::text) end
where id = %(id)s and withheld ->> %(sha256)s::text is distinct from %(reason)s::text
returning id
