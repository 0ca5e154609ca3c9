-- What belongs to one person and their player: preferences, the queue, what is playing. No record says any of it.

-- What people chose. What is not in `chosen` has its default.
create table preference (
    did                text primary key,
    chosen             jsonb not null default '{}',
    terms_accepted_at  timestamptz,
    updated_at         timestamptz not null default now()
);

-- What somebody listens to next, on whichever device. Written at every step of a player: room to update in
-- place, and what the old versions took is free again soon, also where a long queue is kept out of line.
create table queue (
    did         text primary key,
    state       text not null,          -- a JSON object, as the client wrote it
    revision    bigint not null,        -- counts the writes
    updated_at  timestamptz not null default now()
) with (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 200,
    toast.autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_threshold = 200
);

-- What somebody listens to now, as their player says every few seconds; not worth surviving a crash.
create unlogged table now_playing (
    did          text primary key,
    track_id     bigint not null,       -- as is told; whether there is such a track is asked when it is shown
    file_id      text not null,
    told         jsonb not null,        -- how the client calls what we do not know
    duration_ms  bigint not null,
    progress_ms  bigint not null,
    is_playing   boolean not null,
    until        timestamptz not null   -- nothing is playing then, unless somebody says so again
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
