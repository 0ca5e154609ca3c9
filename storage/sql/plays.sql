-- name: record
-- A play counts where the listener's claim is new or over; claim, event and counter are one statement, so that a
-- crash leaves all of them or none. Whoever claims the same at the same moment waits, and then looks again. An alias
-- is under what the listener comes the next time. Of each that was new an address claims a share of the pause, one
-- after another; it is full where its claim reaches to the end of the pause, up to half a share for what is rounded.
-- Null where the track cannot be seen. The lock, which only `fence` is kept out by, comes before the number.
with seen as materialized (
    select t.id, coalesce(%(at)s::timestamptz, clock_timestamp()) as at,
           make_interval(secs => least(greatest(coalesce(
               (select s.duration_s from track_media m join sound s on s.blob_id = m.stream_id
                 where m.did = r.did and m.rkey = t.rkey),
               (('{' || t.card || '}')::json #>> '{audio,durationS}')::float8,
               %(unknown_s)s), %(least_s)s), %(most_s)s)) as pause,
           pg_advisory_xact_lock_shared(hashtextextended('plyr plays', 0)) as fence
    from track t
    join repo r on r.id = t.repo_id
    join profile p on p.repo_id = t.repo_id and not p.hidden
    where t.id = %(track_id)s
), asked as materialized (
    select listener, alias, address
    from unnest(%(listeners)s::bytea[], %(aliases)s::bytea[], %(addresses)s::bytea[])
         as a (listener, alias, address)
), claimed as (
    insert into play_claim as c (track_id, listener, until)
    select s.id, a.listener, s.at + s.pause from seen s, asked a order by a.listener
    on conflict (track_id, listener) do update set until = excluded.until
    where c.until <= (select at from seen)
    returning c.listener
), share as materialized (
    select at, pause / nullif(%(per_address)s::int, 0) as length, at + pause as ends from seen
), placed as (
    insert into play_claim as c (track_id, listener, until)
    select s.id, a.address, s.at + h.length
    from seen s, share h, asked a join claimed using (listener)
    where a.address is not null
    order by a.address
    on conflict (track_id, listener) do update
        set until = (select greatest(c.until, h.at) + h.length from share h)
    where c.until <= (select h.ends - h.length / 2 from share h)
    returning c.listener
), aliased as (
    insert into play_claim (track_id, listener, until)
    select s.id, a.alias, s.at + s.pause from seen s, asked a where a.alias is not null
    on conflict do nothing
), events as (
    insert into play (track_id, listener, at)
    select s.id, c.listener, s.at
    from seen s, claimed c join asked a using (listener)
    where a.address is null or a.address in (select listener from placed)
    returning listener
), counted as (
    update track_stat t set plays = t.plays + n.plays from (select count(*) as plays from events) n
    where n.plays > 0 and t.id = %(track_id)s
    returning t.plays
)
select coalesce((select plays from counted), (select t.plays from track_stat t where t.id = s.id)),
       array(select listener from events)
from seen s

-- name: salt
-- The same for everybody who asks on that day.
with made as (
    insert into play_salt (day, salt) values (%(day)s, %(salt)s) on conflict do nothing returning salt
)
select salt from made union all select salt from play_salt where day = %(day)s limit 1

-- name: fence
-- Numbers are given before they are seen: whoever has one has committed when we get this lock, or comes after. (A
-- lock of the table would be in the way of a vacuum, and a vacuum in its.)
select pg_advisory_xact_lock(hashtextextended('plyr plays', 0))

-- name: newest
-- Up to here every play is seen.
select coalesce(max(id), 0) from play

-- name: roomy
-- Of millions of plays the days are counted in memory, and written in the order of their index.
set local work_mem = '256MB'

-- name: rolled_upto
-- One at a time.
select upto from play_rollup for update

-- name: roll
-- Plays between two numbers into their days.
with days as materialized (
    select track_id, (at at time zone 'UTC')::date as day, count(*) as plays
    from play where id > %(above)s and id <= %(upto)s
    group by 1, 2
), added as (
    insert into play_day (track_id, day, plays) select track_id, day, plays from days order by track_id, day
    on conflict (track_id, day) do update set plays = play_day.plays + excluded.plays
), moved as (
    update play_rollup set upto = %(upto)s, at = now()
)
select coalesce(sum(plays), 0)::bigint from days

-- name: tidy
-- Claims that are over, salts of days that are, and what was counted of tracks whose number is gone.
with claims as (delete from play_claim where until < now()),
     salts as (delete from play_salt where day < (now() at time zone 'UTC')::date - 1),
     days as (delete from play_day d where not exists (select from track_stat s where s.id = d.track_id))
delete from play p where not exists (select from track_stat s where s.id = p.track_id)

-- name: unlink
-- The same plays, each of them nobody's.
with claims as (delete from play_claim where listener = any(%(listeners)s))
update play set listener = uuid_send(gen_random_uuid()) where listener = any(%(listeners)s)

-- name: miscounted
-- Tracks whose counter is not the number of their plays.
select s.id
from track_stat s
left join (select track_id, sum(plays) as plays from play_day group by 1) d on d.track_id = s.id
left join (select track_id, count(*) as plays from play where id > (select upto from play_rollup) group by 1) p
       on p.track_id = s.id
where s.plays <> coalesce(d.plays, 0) + coalesce(p.plays, 0)
order by s.id

-- name: lock_segments
-- One sealer at a time; whoever only reads the manifest does not notice.
lock table play_segment in share row exclusive mode

-- name: segments
-- The manifest, oldest first.
select first_id, last_id, path, rows, bytes, sha256 from play_segment order by first_id

-- name: sealable
-- The oldest plays that are rolled up and old enough: numbers follow time closely, so what comes before the first
-- young one is what there is.
select min(id), max(id), count(*), min(at)
from (
    select id, at from play
    where id <= (select upto from play_rollup)
      and id < coalesce((select id from play where at >= %(before)s order by id limit 1), 9223372036854775807)
    order by id limit %(most)s
) old

-- name: old_plays
-- As lines. Who listened is hashed once more, with what nobody keeps: within a file the same is the same, and
-- nothing outside of it leads there.
copy (
    select id, track_id, (extract(epoch from at) * 1000000)::bigint,
           encode(substring(sha256(listener || %(salt)s) for 16), 'hex')
    from play where id between %(first_id)s and %(last_id)s
) to stdout (format csv)

-- name: add_segment
-- The file is complete and on disk before this row is.
insert into play_segment (first_id, last_id, path, rows, bytes, sha256)
values (%(first_id)s, %(last_id)s, %(path)s, %(rows)s, %(bytes)s, %(sha256)s)

-- name: drop_sealed
-- They are in the file that the manifest names in the same transaction.
delete from play where id between %(first_id)s and %(last_id)s
