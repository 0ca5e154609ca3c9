-- name: listed
-- What was last said of each subject by a label of this value, the newest first, with what was told about it to be shown.
select l.seq, l.uri, l.val, l.cts, l.neg, x.context
from (select distinct on (uri) seq, uri, val, cts, neg from label
       where val = %(val)s and src = %(src)s order by uri, seq desc) l
left join lateral (
    select e.detail->'context' as context from moderation_event e
    where e.subject = l.uri and e.detail ? 'context' order by e.id desc limit 1) x on true
order by l.seq desc limit %(limit)s

-- name: said
-- The newest label of this value on a subject.
select seq, uri, cid, val, neg, cts, exp, src, key_id, sig from label
where uri = %(uri)s and val = %(val)s and src = %(src)s order by seq desc limit 1
