-- name: add
-- In the transaction of what it decides, which may be old by now. Whoever was at work on an account when it was
-- forgotten tells nothing.
insert into decision (did, at, kind, outcome, reason, source, seq)
select n.did, clock_timestamp(), n.kind, n.outcome, n.reason, n.source, n.seq
from json_to_recordset(%(rows)s) as n
    (did text, kind text, outcome text, reason text, source text, seq bigint)
where not exists (select from forgotten f where f.did_hash = sha256(convert_to(n.did, 'UTF8')))

-- name: latest
-- By its index, newest first.
select at, kind, outcome, reason, source, seq from decision where did = %(did)s order by id desc limit %(limit)s
