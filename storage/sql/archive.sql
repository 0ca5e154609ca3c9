-- name: segments
-- The manifest, oldest first.
select first_seq, last_seq, path, rows, bytes, sha256 from archive_segment order by first_seq

-- name: lock
-- One sealer at a time; whoever only reads the manifest does not notice.
lock table archive_segment in share row exclusive mode

-- name: sealed
-- Where the archive ends.
select coalesce(max(last_seq), 0) from archive_segment

-- name: add
-- The file is complete and on disk before this row is.
insert into archive_segment (first_seq, last_seq, path, rows, bytes, sha256)
values (%(first_seq)s, %(last_seq)s, %(path)s, %(rows)s, %(bytes)s, %(sha256)s)

-- name: reach
-- Seqs go on behind what was adopted. Nothing that this database decided itself may be there yet.
update outbox_head set seq = %(seq)s where seq = %(sealed)s returning seq

-- name: waiting
-- What is not sealed yet: how many entries, and since when.
select (select seq from outbox_head) - s.upto, (
    select extract(epoch from now() - at)::float8 from outbox where last_seq > s.upto order by last_seq limit 1)
from (select coalesce(max(last_seq), 0) as upto from archive_segment) s

-- name: prunable
-- Rows of the outbox that are sealed and older than any subscriber is promised.
select coalesce(max(last_seq), 0) from outbox
where last_seq <= (select coalesce(max(last_seq), 0) from archive_segment)
  and at < now() - make_interval(hours => %(hours)s)

-- name: dump
-- Every record that the appview shows, as a stream.
select p.did, r.collection, r.rkey, r.cid, r.rev, r.block
from record r join repo p on p.id = r.repo_id join profile v on v.repo_id = r.repo_id
where r.cid is not null and r.invalid is null and not v.hidden and r.taken_down is null
      and r.collection = any(%(collections)s)

-- name: dumping
-- Whoever takes somebody out of the dumps waits until this one is there.
select pg_advisory_xact_lock_shared(hashtextextended('plyr dumps', 0))

-- name: no_dumps
-- No dump is being written now.
select pg_advisory_xact_lock(hashtextextended('plyr dumps', 0))

-- name: rewind
-- A person's wish; `ingest` starts there when it connects next.
update source_cursor set seq = %(seq)s, updated_at = now() where url = %(url)s returning seq

-- name: ingesting
-- Whoever follows a source now would put its cursor forward again.
select count(*)::int from pg_stat_activity
where datname = current_database() and application_name = any(%(names)s) and pid <> pg_backend_pid()
