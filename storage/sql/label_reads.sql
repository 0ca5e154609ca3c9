-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: labels_after
-- As they were said, negations and what is over included: who follows keeps a history.
select (to_jsonb(l) || jsonb_build_object('sig', encode(l.sig, 'hex')))::text,
       (select max(id) from label_key)
  from label l where seq > $1::bigint order by seq limit $2::int

-- name: labels_head
-- Up to where everything was committed.
select seq from label_head

-- name: labels_key
-- Which key signs.
select public from label_key order by id desc limit 1

-- name: labels_query
-- What holds now: the last word on each value, unless it is a negation or its time is over. A beginning is compared
-- as it is, so no character in it means anything else.
with wanted as (
    select seq from label where uri in (select jsonb_array_elements_text($1::jsonb))
    union
    select seq from jsonb_array_elements_text($2::jsonb) p (beginning) join label on starts_with(uri, beginning)
)
select (to_jsonb(l) || jsonb_build_object('sig', encode(l.sig, 'hex')))::text,
       (select max(id) from label_key)
  from label l
 where seq in (select seq from wanted) and seq > $3::bigint and not neg
   and (exp is null or exp::timestamptz > now())
   and not exists (
       select from label n where n.uri = l.uri and n.val = l.val and n.src = l.src and n.seq > l.seq)
   and ($4::text is null or src in (select jsonb_array_elements_text($4::jsonb)))
 order by seq limit $5::int
