-- Statements for storage/reader.py: numbered parameters, prepared once per connection.
-- A sample: $1 rows whose keys lie evenly, each once, and before each about how many rows there are, as the planner
-- reckons; where Postgres never looked, its highest key, which is no less.

-- name: tracks
-- The words of some tracks.
with last as materialized (
    select max(id) id from track
), size as materialized (
    select case when relpages > 0
                then reltuples / relpages * (pg_relation_size(oid) / current_setting('block_size')::int)
                else (select id from last) end::bigint as rows
      from pg_class where oid = 'track'::regclass
)
select (select rows from size), array_to_string(tsvector_to_array(one.search), ' ')
  from (select distinct on (t.id) t.search
          from generate_series(1, $1::int) n
          cross join lateral (select id, search from track
                               where id >= n * (select id from last) / $1::int
                               order by id limit 1) t
         order by t.id) one

-- name: names
-- The words of some accounts' handles and display names.
with last as materialized (
    select max(repo_id)::bigint id from profile
), size as materialized (
    select case when relpages > 0
                then reltuples / relpages * (pg_relation_size(oid) / current_setting('block_size')::int)
                else (select id from last) end::bigint as rows
      from pg_class where oid = 'profile'::regclass
)
select (select rows from size), array_to_string(tsvector_to_array(one.search), ' ')
  from (select distinct on (p.repo_id) p.search
          from generate_series(1, $1::int) n
          cross join lateral (select repo_id, search from profile
                               where repo_id >= n * (select id from last) / $1::int
                               order by repo_id limit 1) p
         order by p.repo_id) one
