-- Plays: events, and not a counter alone. A listener is a keyed hash: of an account, of a browser's cookie, else of
-- an address and a browser's name on one day. The number of a track's plays is that of its events, rolled up or not.

-- Each play that counted, until it is sealed into a file of the archive.
create table play (
    id        bigint generated always as identity primary key,
    track_id  bigint not null,          -- track_uri.id
    listener  bytea not null,
    at        timestamptz not null
);

-- Until when another play of a track by the same listener does not count.
create table play_claim (
    track_id  bigint not null,
    listener  bytea not null,
    until     timestamptz not null,
    primary key (track_id, listener)
);

-- What was played on each day, as UTC has it: all plays up to play_rollup.upto.
create table play_day (
    track_id  bigint not null,
    day       date not null,
    plays     bigint not null,
    primary key (track_id, day)
);
create table play_rollup (
    one   boolean primary key default true check (one),
    upto  bigint not null default 0,    -- play.id
    at    timestamptz
);
insert into play_rollup default values;

-- Sealed Parquet files of old plays.
create table play_segment (
    first_id   bigint primary key,
    last_id    bigint not null unique,
    path       text not null,           -- below the folder of plays
    rows       bigint not null,
    bytes      bigint not null,
    sha256     text not null,
    sealed_at  timestamptz not null default now()
);

-- What addresses are hashed with on a day; gone soon after it, so that nobody finds them by trying all.
create table play_salt (
    day   date primary key,
    salt  bytea not null
);

-- The order of getTop: plays, then likes. Both in one number, so that a place in it is one, too.
drop index track_stat_top;
create index track_stat_rank on track_stat (((plays << 31) | likes) desc, id desc) where plays > 0 or likes > 0;
