-- name: add
-- In the transaction of what it decides.
insert into decision (did, kind, outcome, reason, source, seq)
select n.did, n.kind, n.outcome, n.reason, n.source, n.seq
from json_to_recordset(%(rows)s) as n
    (did text, kind text, outcome text, reason text, source text, seq bigint)

-- name: latest
-- By its index, newest first.
select at, kind, outcome, reason, source, seq from decision where did = %(did)s order by id desc limit %(limit)s
