-- name: all
-- Every key that some grant may have been made with, newest first.
select kid, secret, extract(epoch from now() - created_at)::float8 as age_s from client_key
where retired_at is null order by created_at desc, kid

-- name: add
-- A new one.
insert into client_key (kid, secret) values (%(kid)s, %(secret)s)

-- name: lock
-- Of several that start at once, one makes the first key.
select pg_advisory_xact_lock(%(key)s)
