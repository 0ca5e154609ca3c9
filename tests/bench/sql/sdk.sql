-- The tables of the ordinary consumer: one for each collection, keyed by AT-URI, with the
-- indexes that the queries of a music service need, and a table of counters.
create schema sdk;

create table sdk.track (
    uri          text primary key,
    did          text not null,
    cid          text not null,
    rev          text not null,
    title        text not null,
    artist       text not null,
    album        text,
    duration     int,
    file_type    text not null,
    audio_url    text,
    image_url    text,
    description  text,
    created_at   timestamptz not null,
    indexed_at   timestamptz not null default now()
);
create index on sdk.track (did, created_at desc);
create index on sdk.track (created_at desc);

create table sdk.like (
    uri          text primary key,
    did          text not null,
    cid          text not null,
    rev          text not null,
    subject_uri  text not null,
    created_at   timestamptz not null,
    indexed_at   timestamptz not null default now()
);
create index on sdk.like (subject_uri, created_at desc);
create index on sdk.like (did, created_at desc);

create table sdk.comment (
    uri           text primary key,
    did           text not null,
    cid           text not null,
    rev           text not null,
    subject_uri   text not null,
    text          text not null,
    timestamp_ms  bigint not null,
    created_at    timestamptz not null,
    indexed_at    timestamptz not null default now()
);
create index on sdk.comment (subject_uri, timestamp_ms);

create table sdk.track_stat (
    uri       text primary key,
    likes     int not null default 0,
    comments  int not null default 0
);

create table sdk.cursor (
    service  text primary key,
    seq      bigint not null
);
