-- name: append
-- Seqs are taken and used at once, under the head's row lock; listeners hear of it at the commit.
with head as (
    update outbox_head set seq = seq + %(count)s returning seq
), row as (
    insert into outbox (last_seq, first_seq, events)
    select seq, seq - %(count)s + 1, %(events)s from head
    returning last_seq
)
select pg_notify('plyr_outbox', last_seq::text) from row

-- name: after
-- By primary key, oldest first; a batch that the seq lies within comes whole.
select first_seq, last_seq, at, events from outbox where last_seq > %(seq)s order by last_seq limit %(rows)s

-- name: bounds
-- What a reader can still ask for.
select coalesce((select min(first_seq) from outbox), seq + 1), seq from outbox_head

-- name: prune
-- Sealed in the archive, and older than any subscriber is promised.
delete from outbox where last_seq <= %(upto)s

-- name: mentioning
-- Texts in a packed row are there byte for byte, so a DID is found without unpacking the others.
select first_seq, last_seq, at, events from outbox
where position(%(text)s::bytea in events) > 0
order by last_seq desc limit %(rows)s
