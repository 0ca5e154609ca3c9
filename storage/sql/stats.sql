-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: alive
-- Whether the database answers, and has our tables.
select count(*) from (select from track limit 1) one

-- name: totals
-- What there is that can be shown: tracks, artists, accounts, likes, comments, lists, plays; and how many seconds all
-- tracks take that say so. Only the card knows, and finding a word in it costs less than reading it as JSON.
select count(*), count(distinct t.repo_id),
       (select count(*) from profile where not hidden),
       coalesce(sum(s.likes), 0), coalesce(sum(s.comments), 0),
       (select count(*) from list l join profile o on o.repo_id = l.repo_id and not o.hidden),
       coalesce(sum(s.plays), 0),
       coalesce(sum(substring(substr(t.card, nullif(position('"durationS":' in t.card), 0) + 12, 9)
                              from '^[0-9]+')::bigint), 0)
  from track t
  join profile p on p.repo_id = t.repo_id and not p.hidden
  join track_stat s on s.id = t.id

-- name: sources
-- What is being read, how far, and how many seconds ago that was.
select url, seq, updated_at, greatest(0, extract(epoch from now() - updated_at)::bigint)
  from source_cursor
 order by url

-- name: size
-- About how many tracks there are, as Postgres remembers it; -1 where it never looked.
select reltuples::bigint from pg_class where oid = 'track'::regclass

-- name: kept
-- What the newest job of kind $1 that ended well came to.
select result from job where kind = $1::text and state = 'done' order by created_at desc limit 1
