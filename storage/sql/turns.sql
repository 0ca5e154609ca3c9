-- name: take
-- One at a time. A turn that was left, or ran out, leaves the key of what it may have written to the next.
insert into write_turn (did, what, rkey, held_until)
values (%(did)s, %(what)s, %(rkey)s, now() + make_interval(secs => %(lease_s)s))
on conflict (did, what) do update
set held_until = excluded.held_until, rkey = coalesce(write_turn.rkey, excluded.rkey)
where write_turn.held_until <= now()
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
