-- name: tracked
-- Every account that we track, with what verification needs: read once at start.
select did, signing_key from repo

-- name: track
-- New accounts come in with the identity that verified their first commit.
insert into repo (did, handle, pds, signing_key, identity_at, identity_due)
select n.did, null, n.pds, n.signing_key, now(), now()
from json_to_recordset(%(rows)s) as n (did text, pds text, signing_key text)
on conflict (did) do nothing
returning id, did

-- name: new_profiles
-- An account is visible as soon as it is known, under its DID until a handle is verified.
insert into profile (repo_id, card, search)
select n.repo_id, n.card, ''::tsvector
from json_to_recordset(%(rows)s) as n (repo_id int, card text)
on conflict (repo_id) do nothing

-- name: lock
-- The row lock is what serialises writers of one repo; always taken in order of id, so that
-- two batches cannot wait for each other.
select r.id, r.did, r.handle, r.pds, r.rev, r.data, nullif(r.gaps, '[]') as gaps, r.active, r.status,
       r.account_source, r.account_seq, p.hidden
from repo r join profile p on p.repo_id = r.id
where r.did = any(%(dids)s)
order by r.id
for update of r

-- name: save_sync
-- Where each repo stands after a batch.
update repo r
set rev = n.rev, data = n.data, gaps = n.gaps, state = n.state, last_seen_at = now()
from json_to_recordset(%(rows)s) as n (id int, rev text, data text, gaps jsonb, state text)
where r.id = n.id

-- name: save_account
-- Upstream's word on an account, and which word of whom it was.
update repo
set active = %(active)s, status = %(status)s, account_source = %(source)s, account_seq = %(seq)s
where id = %(id)s

-- name: hide
-- What the visibility rules say; true only if that changed.
update profile set hidden = %(hidden)s where repo_id = %(id)s and hidden <> %(hidden)s returning repo_id

-- name: identity_due
-- Identities to resolve, the longest waiting first.
select did from repo where identity_due <= now() order by identity_due limit %(limit)s

-- name: expire_identity
-- `#identity` says only that something may have changed: look again now.
update repo set identity_due = now(), identity_tries = 0 where did = any(%(dids)s)

-- name: release_handle
-- A handle resolves to one DID, so whoever held it before holds it no more.
update repo set handle = null where handle = %(handle)s and did <> %(did)s returning id

-- name: save_identity
-- What the DID document says now; due again only if that answer may be older than the question.
update repo
set handle = %(handle)s, pds = %(pds)s, signing_key = %(signing_key)s, identity_at = now(),
    identity_due = now() + make_interval(secs => %(due_s)s), identity_tries = 0
where did = %(did)s
returning id

-- name: postpone_identity
-- An unreachable directory changes nothing; ask again later, with doubling patience up to an hour.
update repo
set identity_tries = identity_tries + 1,
    identity_due = now() + least(interval '1 hour', interval '5 seconds' * power(2, least(identity_tries, 12)))
where did = %(did)s

-- name: all_ids
-- For a rebuild.
select id from repo order by id

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

-- name: expire_checks
-- Null: compare with the PDS soon.
update repo set checked_at = null where checked_at is not null
