-- name: server
-- Who it is, its clock, and whether anything vacuums.
select current_setting('server_version_num')::int, extract(epoch from clock_timestamp())::float8,
       current_setting('autovacuum') = 'on'

-- name: tables
-- Those of these that there are, by name. What their rows should take is an estimate, from what ANALYZE saw: null
-- where it saw none.
select t.name, s.n_live_tup as live, s.n_dead_tup as dead, pg_relation_size(c.oid) as bytes,
       s.n_live_tup * (28 + w.width) as expected_bytes,
       extract(epoch from now() - greatest(s.last_autovacuum, s.last_vacuum))::float8 as vacuumed_s,
       coalesce(array_to_string(c.reloptions, ' ') ~ 'autovacuum_vacuum_scale_factor=', false) as tuned,
       coalesce(array_to_string(c.reloptions, ' ') ~ 'autovacuum_enabled=(false|off|0)', false) as off
from unnest(%(names)s::text[]) with ordinality t(name, n)
join pg_class c on c.oid = to_regclass(t.name)
join pg_stat_all_tables s on s.relid = c.oid
left join lateral (select sum(avg_width)::bigint as width from pg_stats
                    where schemaname = s.schemaname and tablename = s.relname) w on true
order by t.n

-- name: stuck
-- Who waits for a lock for long, and who holds a transaction open and does nothing: no vacuum removes what it may see.
select pid, coalesce(nullif(application_name, ''), usename, '') as who, state = 'active' as waits,
       extract(epoch from now() - state_change)::float8 as for_s
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
  and (wait_event_type = 'Lock' and state = 'active' and now() - query_start > make_interval(secs => %(waits_s)s)
       or state like 'idle in transaction%%' and now() - state_change > make_interval(secs => %(idle_s)s))
order by for_s desc limit 10
