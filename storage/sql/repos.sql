-- name: tracked
-- Every account that we track, with what verification needs: read once at start.
select did, signing_key from repo

-- name: track
-- New accounts come in with the identity that verified their first commit; who asked to be forgotten does not.
insert into repo (did, handle, pds, signing_key, identity_at, identity_due)
select n.did, null, n.pds, n.signing_key, now(), now()
from json_to_recordset(%(rows)s) as n (did text, pds text, signing_key text)
where not exists (select from forgotten f where f.did_hash = sha256(convert_to(n.did, 'UTF8')))
on conflict (did) do nothing
returning id, did

-- name: new_profiles
-- An account is visible as soon as it is known, under its DID until a handle is verified.
insert into profile (repo_id, card, search)
select n.repo_id, n.card, ''::tsvector
from json_to_recordset(%(rows)s) as n (repo_id int, card text)
on conflict (repo_id) do nothing

-- name: lock
-- The row lock is what serialises writers of one repo. Whoever waits for it sees this row as it is then, but
-- others as they were before: so whether the account is hidden is asked of no other table.
select r.id, r.did, r.pds, not r.active or r.taken_down is not null as hidden, r.withheld, r.handle, r.state, r.rev,
       r.data, nullif(r.gaps, '[]') as gaps, r.synced_rev, r.forked_rev, r.active, r.status, r.taken_down
from repo r
where r.did = any(%(dids)s)
order by r.did
for update

-- name: save_sync
-- Where each repo stands after a batch. What is missing is fetched soon, though not at once: frames that
-- are merely late may still close the gap.
update repo r
set rev = n.rev, data = n.data, gaps = n.gaps, state = n.state, last_seen_at = now(),
    resync_due = case when n.state = 'active' then null
                 else coalesce(r.resync_due, now() + interval '3 seconds') end
from json_to_recordset(%(rows)s) as n (id int, rev text, data text, gaps jsonb, state text)
where r.id = n.id

-- name: hurry_sync
-- Not to wait for frames that are late, nor for another attempt's turn. A lease stays what it is.
update repo set resync_due = now(), resync_tries = 0 where id = any(%(ids)s) and state <> 'resyncing'

-- name: hide
-- What the visibility rules say; true only if that changed.
update profile set hidden = %(hidden)s where repo_id = %(id)s and hidden <> %(hidden)s returning repo_id

-- name: take_identities
-- Identities to resolve, the longest waiting first. The lease lets nobody else take them, and runs out if we
-- crash.
update repo r
set identity_due = now() + make_interval(secs => %(lease_s)s)
from (
    select id from repo where identity_due <= now() order by identity_due limit %(limit)s
    for update skip locked
) due
where r.id = due.id
returning r.did, r.identity_due

-- name: expire_identity
-- `#identity` says only that something may have changed: look again now.
update repo set identity_due = now(), identity_tries = 0 where did = any(%(dids)s)

-- name: claim_handle
-- Of two that say the same handle is theirs, the second waits for the first to be done.
select pg_advisory_xact_lock(hashtextextended(%(handle)s, 0))

-- name: lock_claimants
-- The account, and whoever has its handle.
select id, did, handle, pds, signing_key, active from repo
where did = %(did)s or handle = %(handle)s order by did for update

-- name: release_handle
-- A handle resolves to one DID, so whoever held it before holds it no more. They are looked at again: the
-- newer answer may have been the slower one.
update repo set handle = null, identity_due = now() where id = %(id)s

-- name: save_identity
-- What the DID document says now; due again only if that answer may be older than the question, or if
-- somebody asked for it meanwhile.
update repo
set handle = %(handle)s, pds = %(pds)s, signing_key = %(signing_key)s, identity_at = now(),
    identity_due = case when identity_due is distinct from %(lease)s::timestamptz then identity_due
                   else now() + make_interval(secs => %(due_s)s) end,
    identity_tries = 0
where id = %(id)s

-- name: postpone_identity
-- An unreachable directory changes nothing; ask again later, with doubling patience up to an hour.
update repo
set identity_tries = identity_tries + 1,
    identity_due = case when identity_due is distinct from %(lease)s::timestamptz then identity_due
                   else now() + least(interval '1 hour', interval '5 seconds' * power(2, least(identity_tries, 12))) end
where did = %(did)s

-- name: all_ids
-- For a rebuild.
select id from repo order by id

-- name: newest
-- Where a follower's knowledge ends.
select coalesce(max(id), 0) from repo

-- name: tracked_after
-- Who was found since: a follower learns of them without reading everybody again.
select id, did from repo where id > %(id)s order by id

-- name: expire_account
-- Upstream's word is noted, with who said it, and the account's own PDS is asked now. A replayed word
-- is no news; one of lower seq may be, since hosts lose their history (T24).
update repo r
set account_claim = n.claim, account_source = n.source, account_seq = n.seq, account_due = now(), account_tries = 0
from json_to_recordset(%(rows)s) as n (did text, claim text, source text, seq bigint)
where r.did = n.did and (r.account_source, r.account_seq) is distinct from (n.source, n.seq)
