-- What is known of a sound: the same for everybody who has these bytes.
create table sound (
    blob_id        bigint primary key references blob on delete cascade,
    format         text not null,       -- as its container is called: mp3, wav, flac, …
    codec          text not null,
    rate           int not null,
    channels       int not null,
    duration_s     double precision not null,
    playable       boolean not null,    -- every browser plays it as it is
    loudness_lufs  real,                -- EBU R128; this and what follows: null until it was analysed
    range_lu       real,
    peak_dbfs      real,                -- null as well: all of it is silent
    peaks          bytea,               -- the loudest of each of up to 1,000 stretches
    fingerprint    bytea                -- Chromaprint, 32 bits an eighth of a second
);

-- The blobs of a track: of one that was made here, or of a record by another app, mirrored. Its owner in
-- blob_owner is kind 'track', owner 'did/rkey', or 'did/rkey/n' of its revision n.
create table track_media (
    did           text not null,
    rkey          text not null,
    original_id   bigint references blob,       -- as it was uploaded; null: mirrored
    stream_id     bigint references blob,       -- what is played: the original, or made of it
    opus_id       bigint references blob,       -- the same, smaller
    cover_id      bigint references blob,
    job_id        uuid,                 -- who is making it
    published_at  timestamptz,          -- since when its record is on the PDS; null: it is not yet
    created_at    timestamptz not null default now(),
    primary key (did, rkey),
    unique (did, original_id)           -- nobody uploads the same twice
);
create index track_media_original on track_media (original_id);
create index track_media_stream on track_media (stream_id);
create index track_media_opus on track_media (opus_id);
create index track_media_cover on track_media (cover_id);

-- What a track sounded like before: the last of these were kept.
create table track_revision (
    did          text not null,
    rkey         text not null,
    revision     int not null,          -- counts from 1
    original_id  bigint not null references blob,
    stream_id    bigint not null references blob,
    opus_id      bigint references blob,
    replaced_at  timestamptz not null default now(),
    primary key (did, rkey, revision)
);

-- Smaller renditions of an image.
create table image_rendition (
    blob_id     bigint not null references blob on delete cascade,
    width       int not null,           -- pixels
    height      int not null,
    rendition_id  bigint not null references blob,
    primary key (blob_id, width)
);
create index image_rendition_of on image_rendition (rendition_id);

-- What else is known of an upload by its owner, while it comes in.
alter table staged_upload
    add column part        text check (part in ('sound', 'cover')),    -- null: a job makes it
    add column plan        jsonb,       -- what is to become of a sound that comes in parts; null: in one piece
    add column lease       uuid,        -- who is adding to it now
    add column lease_until timestamptz;
create index staged_upload_did on staged_upload (did) where part is not null;

-- What nothing proves yet: hearsay, and what we wrote ourselves until its echo comes.
create index record_unproven on record (rev) where not verified;
