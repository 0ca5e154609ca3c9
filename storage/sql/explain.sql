-- name: find
-- By DID or by its verified handle.
select did from repo where did = %(actor)s or handle = lower(%(actor)s)

-- name: account
-- Everything that one row says about an account, in the order of `Account`.
select r.id, r.did, r.handle, r.pds, r.signing_key, r.identity_at, r.identity_due, r.identity_tries,
       r.active, r.status, r.taken_down, r.account_due, r.account_tries, p.hidden,
       r.state, r.rev, r.data, r.gaps, r.synced_rev, r.resync_due, r.resync_tries, r.resync_error,
       r.checked_at, r.first_seen_at, r.last_seen_at
from repo r join profile p on p.repo_id = r.id
where r.did = %(did)s

-- name: holdings
-- What we hold of an account, counted by collection.
select collection,
       count(*) filter (where cid is not null) as held,
       count(*) filter (where cid is null) as deleted,
       count(*) filter (where not verified) as unproven,
       count(*) filter (where invalid is not null) as invalid
from record where repo_id = %(repo_id)s
group by collection order by collection

-- name: record
-- One record as it stands, and whether the commit that wrote it is kept as its proof.
select c.rev, c.cid, length(c.block) as bytes, c.verified, c.invalid, p.rev is not null as proof
from record c left join commit_proof p on p.repo_id = c.repo_id and p.rev = c.rev
where c.repo_id = %(repo_id)s and c.collection = %(collection)s and c.rkey = %(rkey)s

-- name: waiting
-- What of an account could not be applied, newest first.
select id, source, seq, reason, detail, attempts, next_attempt_at, rejected_at
from rejected_event where did = %(did)s order by id desc limit %(limit)s

-- name: waiting_count
-- How many those are.
select count(*) from rejected_event where did = %(did)s

-- name: oldest
-- Since when the outbox goes back; what was before is in the archive.
select at from outbox order by last_seq limit 1
