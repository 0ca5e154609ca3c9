-- name: keys_newest
-- Which key signs.
select id, public, secret from label_key order by id desc limit 1

-- name: keys_add
-- A new one, which signs from now on.
insert into label_key (public, secret) values (%(public)s, %(secret)s)

-- name: keys_lock
-- Of several that start at once, one makes the first key.
select pg_advisory_xact_lock(%(key)s)

-- name: take
-- The next seq, under the head's row lock until the commit: whoever reads up to some seq misses none below it.
update label_head set seq = seq + 1 returning seq

-- name: latest
-- When the last word on this was said: the next must be later.
select cts from label where uri = %(uri)s and val = %(val)s order by seq desc limit 1

-- name: last_src
-- As whom labels are said here.
select src from label order by seq desc limit 1

-- name: add
-- Signed; those who follow hear of it at the commit.
with row as (
    insert into label (seq, uri, cid, val, neg, cts, exp, src, key_id, sig)
    values (%(seq)s, %(uri)s, %(cid)s, %(val)s, %(neg)s, %(cts)s, %(exp)s, %(src)s, %(key_id)s, %(sig)s)
    returning seq
)
select pg_notify('plyr_label', seq::text) from row

-- name: renew
-- The same label with the newest key's signature; nothing if another process was faster.
update label l set key_id = %(key_id)s, sig = n.sig
  from unnest(%(seqs)s::bigint[], %(sigs)s::bytea[]) n (seq, sig)
 where l.seq = n.seq and l.key_id < %(key_id)s

-- name: active
-- The last word on each value counts, unless it is a negation or its time is over.
select seq, uri, cid, val, neg, cts, exp, src, key_id, sig from label l
 where uri = any(%(uris)s) and src = any(%(sources)s) and not neg
   and (exp is null or exp::timestamptz > now())
   and not exists (
       select from label n where n.uri = l.uri and n.val = l.val and n.src = l.src and n.seq > l.seq)
 order by seq
