-- name: seq
-- Where a labeler was left.
select seq from foreign_labeler where did = %(did)s

-- name: followed
-- How far each was heard, and what did not hold.
select did, seq, extract(epoch from now() - heard_at)::float8 as age_s, refused, refusal from foreign_labeler order by did

-- name: put
-- What was said later counts, whatever comes first; of two at the same time, what came last.
insert into foreign_label (src, uri, val, cid, neg, cts, exp, said_at, ends_at)
select src, uri, val, cid, neg, cts, exp, said_at, ends_at
from json_to_recordset(%(rows)s) as n
    (src text, uri text, val text, cid text, neg boolean, cts text, exp text, said_at timestamptz,
     ends_at timestamptz)
on conflict (uri, src, val) do update
set cid = excluded.cid, neg = excluded.neg, cts = excluded.cts, exp = excluded.exp, said_at = excluded.said_at,
    ends_at = excluded.ends_at
where foreign_label.said_at <= excluded.said_at

-- name: heard
-- In the transaction of what was heard.
insert into foreign_labeler (did, seq, heard_at, refused, refusal)
values (%(did)s, %(seq)s, now(), %(refused)s, %(refusal)s)
on conflict (did) do update
set seq = greatest(foreign_labeler.seq, excluded.seq), heard_at = now(),
    refused = foreign_labeler.refused + excluded.refused,
    refusal = coalesce(excluded.refusal, foreign_labeler.refusal)
