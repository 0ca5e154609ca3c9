-- Comments get a number, which REST shows; and who writes what of somebody's at this moment.

-- It stays over edits, and no record knows it.
alter table comment add column id bigint generated always as identity;
create unique index comment_id on comment (id);

-- Whose turn it is to change one thing on one person's PDS. The row goes with the turn, but for a record of which
-- nobody knows whether it was written.
create table write_turn (
    did         text not null,
    what        text not null,          -- like 17, fm.plyr.comment/3k…
    rkey        text,                   -- under which the record was written, or may have been
    held_until  timestamptz not null,
    primary key (did, what)
);

-- Comments on their way to a PDS: a track has room for only so many.
create table comment_claim (
    did         text not null,
    rkey        text not null,
    track_id    bigint not null,
    held_until  timestamptz not null,
    primary key (did, rkey)
);
create index comment_claim_track on comment_claim (track_id);
