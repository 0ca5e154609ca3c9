-- name: open
-- A sweep that a crash left unfinished goes on, and one that was asked for since events were lost begins; the
-- repos that it has seen are not looked at twice.
select id, started_at from reconcile_run where finished_at is null and scope = 'all' order by id desc limit 1

-- name: begin
-- A new sweep.
insert into reconcile_run (scope) values (%(scope)s) returning id, started_at

-- name: due
-- Whether the last whole sweep began long enough ago.
select coalesce(max(started_at) <= now() - make_interval(secs => %(every_s)s), true)
from reconcile_run where scope = 'all'

-- name: anybody
-- Whether somebody is in doubt whom nobody is about to read whole anyway.
select exists (select from repo where checked_at is null and resync_due is null)

-- name: of_all
-- Who was not compared since the sweep began, by number.
select id, did, handle, pds, signing_key, active, status, state, rev from repo
where id > %(after)s and (checked_at is null or checked_at < %(since)s) order by id limit %(limit)s

-- name: of_doubtful
-- Who is in doubt, by number.
select id, did, handle, pds, signing_key, active, status, state, rev from repo
where id > %(after)s and checked_at is null and resync_due is null order by id limit %(limit)s

-- name: of_named
-- Some accounts, whenever they were compared last.
select id, did, handle, pds, signing_key, active, status, state, rev from repo where did = any(%(dids)s) order by id

-- name: checked
-- These were compared with what their PDS says.
update repo set checked_at = now() where id = any(%(ids)s)

-- name: fetch_soon
-- Something is missing of these, and nobody has set a time.
update repo set resync_due = now() where id = any(%(ids)s) and active and resync_due is null

-- name: add
-- What a part of a sweep came to.
update reconcile_run
set checked = checked + %(checked)s, in_step = in_step + %(in_step)s, healed = healed + %(healed)s,
    behind = behind + %(behind)s, unreachable = unreachable + %(unreachable)s
where id = %(id)s

-- name: finish
-- It is over.
update reconcile_run set finished_at = now() where id = %(id)s

-- name: pulse_at
-- The outbox's seq up to which records are counted; null: nothing was ever counted.
select max(seq) from pulse

-- name: beat
-- Records of ours that came by the stream in one hour.
insert into pulse (hour, records, last_at, seq) values (%(hour)s, %(records)s, %(last_at)s, %(seq)s)
on conflict (hour) do update
set records = pulse.records + excluded.records, last_at = greatest(pulse.last_at, excluded.last_at),
    seq = greatest(pulse.seq, excluded.seq)
