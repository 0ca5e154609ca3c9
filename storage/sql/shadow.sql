-- Everything computed again, beside the real tables, in schema plyr_replay. Statements named facts_… read
-- whichever schema the search path names; `key` says to a person which row it is. What is left out there
-- is a clock, a schedule or a number of our own: docs/operations.md lists it.

-- name: begin
-- What an earlier replay left, goes. Without log and indexes: whoever crashes begins anew.
drop schema if exists plyr_replay cascade;
create schema plyr_replay;
create unlogged table plyr_replay.repo (like public.repo including all excluding indexes);
create unlogged table plyr_replay.record (like public.record including all excluding indexes);
create unlogged table plyr_replay.track_uri (like public.track_uri including all excluding indexes);
create unlogged table plyr_replay.track_stat (like public.track_stat including all excluding indexes);
create unlogged table plyr_replay.track (like public.track including all excluding indexes);
create unlogged table plyr_replay.track_tag (like public.track_tag including all excluding indexes);
create unlogged table plyr_replay."like" (like public."like" including all excluding indexes);
create unlogged table plyr_replay.comment (like public.comment including all excluding indexes);
create unlogged table plyr_replay.list (like public.list including all excluding indexes);
create unlogged table plyr_replay.list_item (like public.list_item including all excluding indexes);
create unlogged table plyr_replay.profile (like public.profile including all excluding indexes);
create unlogged table plyr_replay.rejected_event (like public.rejected_event including all excluding indexes);
create unlogged table plyr_replay.forgotten (like public.forgotten including all excluding indexes);
create unlogged table plyr_replay.repo_in (
    id int, did text, handle text, pds text, signing_key text, active boolean, status text, taken_down text,
    state text, rev text, data text, gaps jsonb, synced_rev text, forked_rev text, since timestamptz,
    withheld jsonb);
create unlogged table plyr_replay.rejected_in (
    source text, digest bytea, seq bigint, did text, reason text, detail text, raw bytea, at timestamptz);
select setval('plyr_replay.list_id_seq', (select last_value from public.list_id_seq)),
       setval('plyr_replay.comment_id_seq', (select last_value from public.comment_id_seq)),
       setval('plyr_replay.rejected_event_id_seq', (select last_value from public.rejected_event_id_seq))

-- name: end
-- Shadows are gone once they were looked at.
drop schema if exists plyr_replay cascade

-- name: stage
-- Of each worker: what Postgres itself has to finish. Nothing of it has to survive a crash.
set synchronous_commit = off;
create temporary table track_in (
    id bigint, repo_id int, rkey text, cid text, sort_at timestamptz, indexed_at timestamptz, title text,
    card text, search text, rest text, features text[], album text, album_id uuid, file_id text, unlisted boolean);
create temporary table profile_in (
    repo_id int, hidden boolean, display_name text, avatar text, bio text, created_at timestamptz, card text,
    search text);
create temporary table comment_in (
    repo_id int, rkey text, track_id bigint, timestamp_ms bigint, sort_at timestamptz, card text);
create temporary table list_in (
    id bigint, repo_id int, rkey text, list_type text, name text, album_id uuid, items int, sort_at timestamptz,
    card text);
create temporary table list_item_in (repo_id int, rkey text, position int, track_id bigint)

-- name: reserve_lists
-- Before any worker asks for one.
select setval('plyr_replay.list_id_seq', greatest(last_value, %(upto)s, 1)) from plyr_replay.list_id_seq

-- name: copy_repo
-- Accounts as folded.
copy plyr_replay.repo_in from stdin

-- name: copy_rejected
-- What is set aside, as folded.
copy plyr_replay.rejected_in from stdin

-- name: copy_forgotten
-- Whom not to take in.
copy plyr_replay.forgotten (did_hash, at) from stdin

-- name: copy_track_uri
-- Numbers as they were given.
copy plyr_replay.track_uri (id, uri) from stdin

-- name: copy_record
-- In the order of its columns.
copy plyr_replay.record (repo_id, collection, rkey, rev, cid, block, verified, invalid, taken_down, unlisted)
from stdin

-- name: copy_like
-- As above.
copy plyr_replay."like" (repo_id, track_id, rkey, sort_at) from stdin

-- name: copy_track
-- Its words become a tsvector later.
copy pg_temp.track_in from stdin

-- name: copy_profile
-- Likewise.
copy pg_temp.profile_in from stdin

-- name: copy_comment
-- Its number may have to come later.
copy pg_temp.comment_in from stdin

-- name: copy_list
-- Likewise.
copy pg_temp.list_in from stdin

-- name: copy_list_item
-- Likewise.
copy pg_temp.list_item_in from stdin

-- name: finish_track
-- By the same dictionary as always.
insert into plyr_replay.track (
    id, repo_id, rkey, cid, sort_at, indexed_at, title, card, search, rest, features, album, album_id,
    file_id, unlisted)
select id, repo_id, rkey, cid, sort_at, indexed_at, title, card, to_tsvector('simple', search), rest, features, album,
       album_id, file_id, unlisted
from track_in

-- name: finish_profile
-- As for tracks.
insert into plyr_replay.profile (repo_id, hidden, display_name, avatar, bio, created_at, card, search)
select repo_id, hidden, display_name, avatar, bio, created_at, card, to_tsvector('simple', search) from profile_in

-- name: finish_comment
-- A comment that is there keeps its number, which REST shows.
insert into plyr_replay.comment (repo_id, rkey, track_id, timestamp_ms, sort_at, card, id)
overriding system value
select n.repo_id, n.rkey, n.track_id, n.timestamp_ms, n.sort_at, n.card,
       coalesce(o.id, nextval('plyr_replay.comment_id_seq'))
from comment_in n left join public.comment o using (repo_id, rkey)

-- name: finish_list
-- Likewise; one that was lost has it from the archive.
with numbered as (
    insert into plyr_replay.list (id, repo_id, rkey, list_type, name, album_id, items, sort_at, card)
    overriding system value
    select coalesce(o.id, n.id, nextval('plyr_replay.list_id_seq')), n.repo_id, n.rkey, n.list_type, n.name,
           n.album_id, n.items, n.sort_at, n.card
    from list_in n left join public.list o using (repo_id, rkey)
    returning id, repo_id, rkey
)
insert into plyr_replay.list_item (list_id, position, track_id)
select l.id, i.position, i.track_id from list_item_in i join numbered l using (repo_id, rkey)

-- name: finish_repo
-- What the archive says; clocks and schedules stay as they are.
insert into plyr_replay.repo (
    id, did, handle, pds, signing_key, active, status, taken_down, state, rev, data, gaps, synced_rev, forked_rev,
    identity_at, identity_due, identity_tries, account_source, account_seq, account_claim, account_due, account_tries,
    resync_due, resync_tries, resync_error, checked_at, first_seen_at, last_seen_at, withheld)
overriding system value
select n.id, n.did, n.handle, n.pds, n.signing_key, n.active, n.status, n.taken_down, n.state, n.rev, n.data,
       n.gaps, n.synced_rev, n.forked_rev,
       o.identity_at, case when o.id is null then now() else o.identity_due end, coalesce(o.identity_tries, 0),
       o.account_source, o.account_seq, o.account_claim, o.account_due, coalesce(o.account_tries, 0),
       case when o.id is null then now() else o.resync_due end, coalesce(o.resync_tries, 0), o.resync_error,
       o.checked_at, coalesce(o.first_seen_at, n.since), coalesce(o.last_seen_at, n.since),
       n.withheld
from plyr_replay.repo_in n left join public.repo o using (did)

-- name: finish_record
-- By which number a comment or list is to be known again, no archive knows.
update plyr_replay.record n set number = o.number from public.record o
where o.taken_down is not null and o.number is not null
  and (n.repo_id, n.collection, n.rkey) = (o.repo_id, o.collection, o.rkey)

-- name: finish_rejected
-- Likewise.
insert into plyr_replay.rejected_event (
    id, source, digest, seq, did, reason, detail, raw, attempts, next_attempt_at, rejected_at)
overriding system value
select coalesce(o.id, nextval('plyr_replay.rejected_event_id_seq')), n.source, n.digest, n.seq, n.did,
       coalesce(o.reason, n.reason), coalesce(o.detail, n.detail), n.raw, coalesce(o.attempts, 1), case when o.id is null then now() else o.next_attempt_at end,
       coalesce(o.rejected_at, n.at)
from plyr_replay.rejected_in n left join public.rejected_event o using (source, digest)

-- name: finish_track_stat
-- Counters from nothing but the shadows; plays and tags have no record behind them.
insert into plyr_replay.track_stat (id, likes, comments, plays, tags)
select u.id, coalesce(l.likes, 0), coalesce(c.comments, 0), coalesce(o.plays, 0), o.tags
from plyr_replay.track_uri u
left join (
    select track_id, count(distinct repo_id)::int as likes
    from plyr_replay."like" join plyr_replay.profile using (repo_id) where not hidden group by track_id
) l on l.track_id = u.id
left join (
    select track_id, count(*)::int as comments
    from plyr_replay.comment join plyr_replay.profile using (repo_id) where not hidden group by track_id
) c on c.track_id = u.id
left join public.track_stat o on o.id = u.id

-- name: finish_track_tag
-- Of those tags, too.
insert into plyr_replay.track_tag (tag, sort_at, track_id, repo_id)
select distinct n.tag, t.sort_at, t.id, t.repo_id
from plyr_replay.track_stat s join plyr_replay.track t on t.id = s.id cross join unnest(s.tags) as n (tag)
where not t.unlisted

-- name: snapshot
-- Everything that this connection reads from now on is as of one moment.
set transaction isolation level repeatable read

-- name: public
-- Facts of the real tables.
set local search_path to public

-- name: shadow
-- Facts of the shadows.
set local search_path to plyr_replay

-- name: hash
-- One number for a table, whatever the order of its rows.
select count(*), coalesce(sum(hash_record_extended(f, 0)::numeric), 0) from ({facts}) f

-- name: facts_repo
-- How accounts and their repos stand.
select did as key, id, handle, pds, signing_key, active, status, taken_down, state, rev, data, gaps, synced_rev,
       forked_rev, withheld
from repo

-- name: facts_record
-- The truth.
select r.did || '/' || collection || '/' || rkey as key, v.rev, cid, block, verified, invalid, v.taken_down, v.unlisted
from record v join repo r on r.id = repo_id

-- name: facts_track_uri
-- Numbers that REST shows.
select uri as key, id from track_uri

-- name: facts_track
-- All of it.
select r.did || '/' || rkey as key, t.id, cid, sort_at, indexed_at, title, card, search::text as search, rest,
       features, album, album_id, file_id, unlisted
from track t join repo r on r.id = repo_id

-- name: facts_like
-- All of it.
select r.did || '/' || rkey || ' of track ' || track_id as key, sort_at from "like" join repo r on r.id = repo_id

-- name: facts_comment
-- All but its number, which no record knows.
select r.did || '/' || rkey as key, track_id, timestamp_ms, sort_at, card from comment join repo r on r.id = repo_id

-- name: facts_list
-- A list differs, too, when its items do.
select r.did || '/' || rkey as key, list_type, name, album_id, items, sort_at, card,
       (select array_agg(position || ': ' || track_id order by position) from list_item where list_id = l.id)::text
       as tracks
from list l join repo r on r.id = repo_id

-- name: facts_profile
-- All of it.
select r.did as key, hidden, display_name, avatar, bio, created_at, card, rest, search::text as search
from profile join repo r on r.id = repo_id

-- name: facts_track_stat
-- Of tracks that anybody likes or comments.
select uri as key, likes, comments from track_stat join track_uri using (id) where likes <> 0 or comments <> 0

-- name: facts_rejected_event
-- What is set aside; why may have another answer at each attempt.
select source || ' ' || encode(digest, 'hex') as key, did, raw from rejected_event

-- name: facts_forgotten
-- Who they are is not known.
select encode(did_hash, 'hex') as key, true as forgotten from forgotten

-- name: differ_begin
-- The real table's facts come here, over the connection that has their snapshot.
create unlogged table plyr_replay.real as {facts} limit 0

-- name: differ_out
-- From there…
copy ({facts}) to stdout (format binary)

-- name: differ_in
-- … to here.
copy plyr_replay.real from stdin (format binary)

-- name: differ
-- Keys whose rows differ: real row missing, replayed row missing, and what differs as [real, replayed].
select coalesce(o.key, n.key), o.key is null, n.key is null, (
    select jsonb_object_agg(a.key, jsonb_build_array(a.value, b.value))
    from jsonb_each(to_jsonb(o)) a join jsonb_each(to_jsonb(n)) b using (key)
    where a.value is distinct from b.value and a.key <> 'key' and o.key is not null and n.key is not null)
from plyr_replay.real o full join ({facts}) n on n.key = o.key
where to_jsonb(o) is distinct from to_jsonb(n)
order by 1

-- name: differ_end
-- The next table has other columns.
drop table plyr_replay.real

-- name: freeze
-- Whoever indexes waits from here on, whoever reads does not notice.
lock table public.repo, public.record, public.track_uri, public.track_stat, public.track, public.track_tag,
    public."like", public.comment, public.list, public.list_item, public.profile, public.rejected_event,
    public.forgotten, public.outbox_head in exclusive mode

-- name: index
-- The shadows become what the real tables are: logged, with their settings, indexes and constraints. After the
-- rows, since an index that is built costs a fraction of one that grows.
set maintenance_work_mem = '512MB';
set search_path to pg_catalog;
drop table plyr_replay.repo_in, plyr_replay.rejected_in;
do $$
declare
    one record;
begin
    for one in
        select s.relname, array_to_string(t.reloptions, ', ') as settings
        from pg_class s join pg_class t on t.relname = s.relname and t.relnamespace = 'public'::regnamespace
        where s.relnamespace = 'plyr_replay'::regnamespace and s.relkind = 'r'
    loop
        if one.settings is not null then
            execute format('alter table plyr_replay.%I set (%s)', one.relname, one.settings);
        end if;
        execute format('alter table plyr_replay.%I set logged', one.relname);
    end loop;
    for one in
        select s.relname, c.conname, c.contype,
               replace(pg_get_constraintdef(c.oid), 'REFERENCES public.', 'REFERENCES plyr_replay.') as definition
        from pg_constraint c
        join pg_class t on t.oid = c.conrelid and t.relnamespace = 'public'::regnamespace
        join pg_class s on s.relname = t.relname and s.relnamespace = 'plyr_replay'::regnamespace
        where c.contype in ('p', 'u', 'f') order by c.contype = 'f', s.relname
    loop
        execute format('alter table plyr_replay.%I add constraint %I %s', one.relname, one.conname, one.definition);
    end loop;
    for one in
        select replace(pg_get_indexdef(i.indexrelid), ' ON public.', ' ON plyr_replay.') as definition
        from pg_index i
        join pg_class t on t.oid = i.indrelid and t.relnamespace = 'public'::regnamespace
        join pg_class s on s.relname = t.relname and s.relnamespace = 'plyr_replay'::regnamespace
        where not exists (select from pg_constraint c where c.conindid = i.indexrelid and c.contype in ('p', 'u'))
    loop
        execute one.definition;
    end loop;
    for one in select relname from pg_class where relnamespace = 'plyr_replay'::regnamespace and relkind = 'r' loop
        execute format('analyze plyr_replay.%I', one.relname);
    end loop;
end $$;
reset search_path

-- name: swap
-- All tables change places at once; numbers go on where they were. The old tables are gone at the commit.
select setval('plyr_replay.repo_id_seq', greatest((select last_value from public.repo_id_seq), max(id)))
from plyr_replay.repo;
select setval('plyr_replay.track_uri_id_seq', greatest((select last_value from public.track_uri_id_seq), max(id)))
from plyr_replay.track_uri;
create schema plyr_replaced;
do $$
declare
    name text;
begin
    for name in
        select relname from pg_class where relnamespace = 'plyr_replay'::regnamespace and relkind = 'r'
        order by relname
    loop
        execute format('alter table public.%I set schema plyr_replaced', name);
        execute format('alter table plyr_replay.%I set schema public', name);
    end loop;
end $$;
drop schema plyr_replaced cascade;
drop schema plyr_replay cascade
