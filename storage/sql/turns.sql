-- name: take
-- One at a time. A turn that was left, or ran out, leaves the key of what it may have written to the next, and so does
-- one whose connection is gone. When a backend began is hidden from other roles; then its pid has to do.
insert into write_turn (did, what, rkey, held_until, holder_pid, holder_since)
values (%(did)s, %(what)s, %(rkey)s, now() + make_interval(secs => %(lease_s)s), pg_backend_pid(),
        (select backend_start from pg_stat_get_activity(pg_backend_pid())))
on conflict (did, what) do update
set held_until = excluded.held_until, rkey = coalesce(write_turn.rkey, excluded.rkey),
    holder_pid = excluded.holder_pid, holder_since = excluded.holder_since
where write_turn.held_until <= now()
   or write_turn.holder_pid is not null
      and not exists (select from pg_stat_get_activity(write_turn.holder_pid) held
                      where coalesce(held.backend_start = write_turn.holder_since, true))
returning rkey, held_until

-- name: end
-- All is settled. Only by whoever has it.
delete from write_turn where did = %(did)s and what = %(what)s and held_until = %(held_until)s

-- name: leave
-- Nobody knows what was written: the key stays.
update write_turn set held_until = now() where did = %(did)s and what = %(what)s and held_until = %(held_until)s

-- name: tidy
-- What was not tried again in a day came back by the firehose, or never was.
delete from write_turn where held_until < now() - interval '1 day'

-- name: erase
-- Who leaves waits for nothing.
delete from write_turn where did = %(did)s
