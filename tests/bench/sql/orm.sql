-- The tables behind the ordinary endpoint: a column for each field of a track, as a service
-- that is built on an ORM keeps them. Accounts, likes and counters are read from our own
-- tables, through our own indexes: only what we keep rendered needs columns here.
create schema orm;

create table orm.track (
    id           bigint not null,
    repo_id      int not null,
    rkey         text not null,
    cid          text not null,
    title        text not null,
    artist       text not null,
    file_type    text not null,
    album        text,
    duration     int,
    audio_url    text,
    audio_cid    text,
    audio_mime   text,
    audio_size   bigint,
    image_url    text,
    description  text,
    created_at   text not null,
    sort_at      timestamptz not null,
    indexed_at   timestamptz not null,
    file_id      text,               -- these two for REST alone
    album_id     uuid
);
