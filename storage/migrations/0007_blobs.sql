-- Blobs: what the store holds, and who needs it. The row comes before the object and goes after it, so an
-- object without a row is nobody's doing.
create table blob (
    id           bigint generated always as identity primary key,
    area         text not null check (area in ('audio', 'image', 'export', 'private')),
    sha256       bytea not null check (length(sha256) = 32),    -- of all bytes; with the area it is the key
    bytes        bigint not null check (bytes >= 0),
    crc32        bigint not null check (crc32 between 0 and 4294967295),    -- for the headers of a ZIP
    mime         text not null,         -- as what it is served; its content decided
    state        text not null check (state in ('publishing', 'published', 'deleting')),
    owners       int not null default 0 check (owners >= 0),    -- rows of blob_owner
    unowned_at   timestamptz default now(),     -- since when nobody owns it; null: somebody does
    lease_until  timestamptz,           -- of a deletion: until then it is in somebody's hands
    created_at   timestamptz not null default now(),
    unique (area, sha256)
);
create index blob_unowned on blob (unowned_at) where unowned_at is not null;

-- A reason to keep a blob: something of this kind, under this name, shows or needs it.
create table blob_owner (
    kind        text not null,
    owner       text not null,
    blob_id     bigint not null references blob,
    created_at  timestamptz not null default now(),
    primary key (kind, owner, blob_id)
);
create index blob_owner_blob on blob_owner (blob_id);

-- Bytes on their way in. What was not touched for long is dropped, with the bytes.
create table staged_upload (
    name        text primary key,       -- of the staged object
    did         text not null,          -- whose it is
    bytes       bigint,                 -- promised; null: as many as come
    created_at  timestamptz not null default now(),
    touched_at  timestamptz not null default now()
);
create index staged_upload_touched on staged_upload (touched_at);
