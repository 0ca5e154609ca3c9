-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: after
-- By primary key, oldest first; a batch that the seq lies within comes whole. Some are a few hundred bytes and
-- some a megabyte, so bytes bound the answer; Postgres knows a value's length without fetching it.
select last_seq, first_seq, at, events
  from (select o.*, sum(length(events)) over (order by last_seq) - length(events) before
          from (select * from outbox where last_seq > $1::bigint order by last_seq limit 256) o) o
 where before < $2::int
 order by last_seq

-- name: head
-- Up to where everything was committed.
select seq from outbox_head

-- name: withheld
-- Few records are taken down.
select r.did, v.collection, v.rkey from record v join repo r on r.id = v.repo_id where v.taken_down is not null

-- name: hidden
-- Few accounts are: who stands in for all that are not there, and why.
select did, active, status, taken_down is not null from repo where not active or taken_down is not null
