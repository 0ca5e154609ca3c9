-- name: found
-- Whether the schema is there, and whether we made it.
select exists (select from pg_namespace where nspname = 'procrastinate'),
       to_regclass('procrastinate.plyr_made') is not null

-- name: create_schema
-- Apart from our tables: its types and functions are many.
create schema procrastinate

-- name: create_ledger
-- What of the package's files was applied.
create table procrastinate.plyr_made (
    name     text primary key,
    made_at  timestamptz not null default now()
)

-- name: made
-- The newest of them.
select name from procrastinate.plyr_made order by name desc limit 1

-- name: look_inside
-- The package's files name no schema.
select set_config('search_path', 'procrastinate', true)

-- name: look_outside
-- Back again, for what follows in an outer transaction.
select set_config('search_path', 'public', true)

-- name: bind_functions
-- The functions name no schema either, and are called by triggers in anybody's session.
do $$
declare one regprocedure;
begin
    for one in select oid::regprocedure from pg_proc where pronamespace = 'procrastinate'::regnamespace loop
        execute format('alter function %s set search_path = procrastinate, pg_temp', one);
    end loop;
end
$$

-- name: note
-- It is applied.
insert into procrastinate.plyr_made (name) values (%(name)s)

-- name: at_home
-- For a session of the package's own queries.
set search_path = procrastinate

-- name: vacuum_soon
-- A row comes, changes and goes with each job: where many wait, the usual fifth of them as dead rows would lie in the
-- way of whoever looks for the next. Only where it is not so yet: the lock would end a vacuum that is at work.
do $$
begin
    if not exists (select from pg_class where oid = 'procrastinate.procrastinate_jobs'::regclass
                      and 'autovacuum_vacuum_scale_factor=0.02' = any(reloptions)) then
        alter table procrastinate.procrastinate_jobs
          set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
    end if;
end
$$
