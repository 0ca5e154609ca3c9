-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: after
-- By primary key, oldest first; a batch that the seq lies within comes whole.
select last_seq, first_seq, at, events from outbox where last_seq > $1::bigint order by last_seq limit $2::int

-- name: head
-- Up to where everything was committed.
select seq from outbox_head

-- name: hidden
-- Few accounts are: who stands in for all that are not there, and why.
select did, active, status, taken_down is not null from repo where not active or taken_down is not null
