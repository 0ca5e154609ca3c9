-- name: add
-- The digest makes a replayed rejection the same row, counted once more.
insert into rejected_event (source, digest, seq, did, reason, detail, raw, next_attempt_at)
select n.source, n.digest, n.seq, n.did, n.reason, n.detail, n.raw,
       now() + make_interval(secs => n.retry_s)
from json_to_recordset(%(rows)s) as n
    (source text, digest bytea, seq bigint, did text, reason text, detail text, raw bytea, retry_s float8)
on conflict (source, digest) do update
set reason = excluded.reason, detail = excluded.detail, attempts = rejected_event.attempts + 1,
    next_attempt_at = excluded.next_attempt_at

-- name: take
-- Frames worth another try, oldest first, under a lease.
update rejected_event e
set next_attempt_at = now() + make_interval(secs => %(lease_s)s)
from (
    select id from rejected_event where next_attempt_at <= now() order by next_attempt_at limit %(limit)s
    for update skip locked
) due
where e.id = due.id
returning e.id, e.source, e.attempts, e.raw

-- name: drop
-- Applied at last.
delete from rejected_event where id = any(%(ids)s)

-- name: postpone
-- Still no luck: double the patience, up to an hour; after that many tries, leave it to a person.
update rejected_event
set attempts = attempts + 1, reason = %(reason)s, detail = %(detail)s,
    next_attempt_at = case when %(again)s and attempts < %(most)s
        then now() + least(interval '1 hour', interval '5 seconds' * power(2, attempts)) end
where id = %(id)s

-- name: counts
-- For status lines and alarms.
select reason, count(*) from rejected_event group by reason order by reason

-- name: listed
-- For a person, newest first, by primary key.
select id, source, seq, did, reason, detail, length(raw) as bytes, attempts, next_attempt_at, rejected_at
from rejected_event
where (%(ids)s::bigint[] is null or id = any(%(ids)s)) and (%(reason)s::text is null or reason = %(reason)s)
      and (%(did)s::text is null or did = %(did)s) and (%(before)s::bigint is null or id < %(before)s)
order by id desc limit %(limit)s

-- name: raw_of
-- The bytes as they came.
select raw from rejected_event where id = %(id)s

-- name: hurry
-- A person believes that it may work now.
update rejected_event set next_attempt_at = now()
where (%(ids)s::bigint[] is null or id = any(%(ids)s)) and (%(reason)s::text is null or reason = %(reason)s)
      and (%(did)s::text is null or did = %(did)s)

-- name: give_up
-- A person does not want them; their bytes stay in the archive.
delete from rejected_event
where (%(ids)s::bigint[] is null or id = any(%(ids)s)) and (%(reason)s::text is null or reason = %(reason)s)
      and (%(did)s::text is null or did = %(did)s)
returning source, seq, did, digest
