-- What others know of the sound of tracks: whose recordings it is taken for. A verdict is of these very bytes, and
-- stays when the track gets others.

create table copyright_scan (
    id              bigint generated always as identity primary key,
    did             text not null,
    rkey            text not null,
    sha256          bytea not null check (length(sha256) = 32),     -- of the bytes that were scanned
    blob_id         bigint references blob on delete set null,      -- null: they are gone
    state           text not null check (state in ('ok', 'error', 'off')),  -- off: there was nobody to ask
    matches         jsonb not null default '[]',    -- storage/scans.py has the shape
    dominant        jsonb,              -- the match that most of the matched parts have
    dominant_share  real,               -- of the matched parts, 0 to 1
    asked           text[] not null default '{}',   -- who said so: audd, plyr (our own scanner)
    raw             text,               -- AuDD's answer as it came, without our token
    is_flagged      boolean not null default false,     -- anything matched
    resolution      text check (resolution in ('pending', 'violation', 'false_positive', 'original_artist')),
    reviewed_at     timestamptz,
    reviewed_by     text,               -- DID of a person, or `operator`
    review_notes    text,               -- never shown in public
    error           text,               -- why there is no verdict
    error_kind      text check (error_kind in ('away', 'quota', 'token', 'sound', 'answer')),
    attempts        int not null default 0,     -- that came to nothing
    due             timestamptz,        -- when to ask again; null: not by itself
    scanned_at      timestamptz,        -- since when there is a verdict
    updated_at      timestamptz not null default now(),
    unique (did, rkey, sha256),
    check ((state = 'ok') = (scanned_at is not null)),
    check ((state = 'ok') = (asked <> '{}')),
    check ((state = 'error') = (error_kind is not null and error is not null and due is not null)),
    check (is_flagged = (resolution is not null)),
    check (is_flagged = (dominant is not null and dominant_share is not null))
);
create index copyright_scan_sha256 on copyright_scan (sha256) where state = 'ok';
create index copyright_scan_blob on copyright_scan (blob_id) where blob_id is not null;
create index copyright_scan_due on copyright_scan (due) where state = 'error';
create index copyright_scan_review on copyright_scan (id) where resolution = 'pending';
