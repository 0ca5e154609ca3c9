-- The whole schema at its newest migration, to be read. Nothing applies this file: `storage/migrations`
-- makes the database, and a test proves that both come to the same.
--
-- The tables of the spine. `record` is the truth; everything from `track_stat` down is a
-- projection of it that `plyr rebuild` can compute again. Hot tables carry no foreign keys:
-- the indexer writes parents first, and a check per row would cost as much as an index.

-- One row per account that we track (it has, or had, a record of ours).
create table repo (
    id             int generated always as identity primary key,
    did            text not null unique,
    handle         text,            -- verified both ways; null shows as handle.invalid
    pds            text,            -- origin of the current PDS
    signing_key    text,            -- did:key of #atproto
    identity_at    timestamptz,     -- when the three above were resolved
    identity_due   timestamptz default now(),       -- when to resolve them (again); null: all is well
    identity_tries int not null default 0,
    active         boolean not null default true,   -- upstream's word: #account
    status         text,            -- upstream's reason: deactivated, takendown, …
    account_source text,            -- who said so, and at which seq: an older word from the
    account_seq    bigint,          -- same source changes nothing
    state          text not null default 'pending'
                   check (state in ('pending', 'resyncing', 'active', 'desynchronized', 'error')),
    rev            text,            -- of the newest verified commit
    data           text,            -- its MST root
    gaps           jsonb not null default '[]',     -- what we know that we missed, see indexer/chain.py
    first_seen_at  timestamptz not null default now(),
    last_seen_at   timestamptz not null default now(),
    account_due    timestamptz,     -- when to ask its current PDS how it stands
    account_tries  int not null default 0,
    account_claim  text,            -- what a source said last, until its PDS was asked
    taken_down     text,            -- our own decision, with its reason; upstream's is `active`
    resync_due     timestamptz default now(),       -- when to fetch the repo; null: nothing is missing
    resync_tries   int not null default 0,          -- failures since it last worked
    resync_error   text,            -- why the last one failed
    synced_rev     text,            -- of the last whole read: older commits say nothing new
    checked_at     timestamptz,     -- when its PDS last confirmed what we hold
    forked_rev     text,            -- commits up to here may be of a host that was left: only whole reads count
    withheld       jsonb            -- bytes of it that we took down: why, by their sha-256 in hex; null: none
) with (fillfactor = 60);           -- room to update in place: every commit moves rev and data
create unique index repo_handle on repo (handle);
create index repo_identity_due on repo (identity_due) where identity_due is not null;
create index repo_account_due on repo (account_due) where account_due is not null;
create index repo_resync_due on repo (resync_due) where resync_due is not null;
create index repo_resync_ready on repo (resync_due)
    where resync_due is not null and active and pds is not null and signing_key is not null;
create index repo_doubtful on repo (id) where checked_at is null and resync_due is null;

-- Every record of ours that we have seen, as signed bytes; a delete leaves a tombstone.
create table record (
    repo_id     int not null,
    collection  text not null,
    rkey        text not null,
    rev         text not null,      -- of the commit that wrote this version
    cid         text,               -- null: deleted
    block       bytea,              -- DAG-CBOR, sha-256 of it is in cid; null: deleted
    verified    boolean not null,
    invalid     text,               -- why the lexicon refuses it; null: valid
    taken_down  text,               -- why we took it down: nothing is made of it; stays over new versions
    number      bigint,             -- what its comment or list was called then, and is again once it is restored
    unlisted    text,               -- why we list this track nowhere; stays over new versions, too
    primary key (repo_id, collection, rkey)
);
create index record_taken_down on record (repo_id, collection, rkey) where taken_down is not null;

-- Interned track URIs. A row exists from the first mention on, so a like that arrives before its
-- track already has something to point at.
create table track_uri (
    id   bigint generated always as identity primary key,
    uri  text not null unique
);

-- What is counted about each of them; a track that comes later finds its likes counted.
create table track_stat (
    id        bigint primary key,         -- track_uri.id
    likes     int not null default 0,     -- distinct visible accounts
    comments  int not null default 0,     -- visible comments
    plays     bigint not null default 0,
    tags      text[]                      -- what its artist files it under, in no record; null: none
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
-- The order of getTop: plays, then likes, both in one number.
create index track_stat_rank on track_stat (((plays << 31) | likes) desc, id desc) where plays > 0 or likes > 0;
create index track_stat_tagged on track_stat (id) where tags is not null;

create table track (
    id           bigint primary key,      -- track_uri.id
    repo_id      int not null,
    rkey         text not null,
    cid          text not null,
    sort_at      timestamptz not null,    -- min(createdAt, indexed_at)
    indexed_at   timestamptz not null,    -- time of the rev that wrote this version
    title        text not null,
    card         text not null,           -- rendered JSON members of #trackView that never change
    search       tsvector not null,
    rest         text,                    -- rendered JSON members of a REST track that never change, see
                                          -- indexer/rest_card.py; null: older than this column, not rendered yet
    features     text[],                  -- DIDs of those featured; null: nobody
    album        text,                    -- title of the album that it says it is on; null: none
    file_id      text,                    -- how REST names its sound
    album_id     uuid,                    -- of account and slug (indexer/albums.py); null: of no album
    unlisted     boolean not null default false     -- in no listing but its artist's own and those that name it
);
create unique index track_repo on track (repo_id, rkey);
create index track_repo_sort on track (repo_id, sort_at desc, id desc);
create index track_sort on track (sort_at desc, id desc);
create index track_search on track using gin (search);
create index track_unrendered on track (id) where rest is null;
create index track_file on track (file_id, id);
create index track_album on track (album_id, sort_at, id) where album_id is not null;
create index track_album_title on track (lower(album) collate "C", repo_id, album_id, id) where album_id is not null;

-- Listed tracks by each of their tags, in the order in which they are shown: a row for each while the track is there.
create table track_tag (
    tag       text not null,
    sort_at   timestamptz not null,       -- track.sort_at
    track_id  bigint not null,            -- track.id
    repo_id   int not null,
    primary key (tag, sort_at, track_id) include (repo_id)
);
create index track_tag_track on track_tag (track_id);

create table "like" (
    repo_id   int not null,
    track_id  bigint not null,            -- track_uri.id, whether the track is there or not
    rkey      text not null,
    sort_at   timestamptz not null,
    primary key (repo_id, track_id, rkey)
);
create index like_track on "like" (track_id, sort_at desc, repo_id);
create index like_repo on "like" (repo_id, sort_at desc, rkey desc);

create table comment (
    repo_id       int not null,
    rkey          text not null,
    track_id      bigint not null,
    timestamp_ms  bigint not null,
    sort_at       timestamptz not null,
    card          text not null,
    id            bigint generated always as identity,     -- stays over edits: REST shows it
    primary key (repo_id, rkey)
);
create index comment_track on comment (track_id, timestamp_ms, repo_id, rkey);
create unique index comment_id on comment (id);

create table list (
    id          bigint generated always as identity primary key,
    repo_id     int not null,
    rkey        text not null,
    list_type   text,
    name        text,
    items       int not null,             -- length of the record's items
    sort_at     timestamptz not null,
    card        text not null,
    album_id    uuid,                     -- of one that calls itself an album, and has a name; else null
    unique (repo_id, rkey)
);
create index list_repo_sort on list (repo_id, sort_at desc, id desc);
create index list_album on list (album_id, rkey) where album_id is not null;
create index list_album_title on list (lower(name) collate "C", repo_id, album_id, id) where album_id is not null;
-- Albums from before they had ids.
create index list_without_id on list (id) where album_id is null and list_type = 'album' and name <> '';

create table list_item (
    list_id   bigint not null references list on delete cascade,
    position  int not null,
    track_id  bigint not null,            -- track_uri.id
    primary key (list_id, position)
);
create index list_item_track on list_item (track_id, list_id);

-- How an account looks to others. One row for each repo that we track.
create table profile (
    repo_id       int primary key,
    hidden        boolean not null default false,   -- upstream's status, and our own decisions
    display_name  text,
    avatar        text,
    bio           text,
    created_at    timestamptz,            -- of its own profile record
    card          text not null,          -- rendered #profileViewBasic
    search        tsvector not null,
    -- `card` as members of a REST track by the account; each begins with a comma
    rest          text not null generated always as (
        ',"artist":' || coalesce(nullif(split_part(split_part(card, ',"displayName":', 2), ',"avatar":', 1), ''),
                                 split_part(split_part(split_part(card, ',"displayName":', 1), ',"avatar":', 1),
                                            ',"handle":', 2))
        || ',"artist_did":' || substr(split_part(card, ',"handle":', 1), 7)
        || ',"artist_handle":' || split_part(split_part(split_part(card, ',"displayName":', 1), ',"avatar":', 1),
                                             ',"handle":', 2)
        || ',"artist_avatar_url":' || coalesce(nullif(split_part(card, ',"avatar":', 2), ''), 'null')) stored
);
create index profile_search on profile using gin (search);
create index profile_hidden on profile (repo_id) where hidden;

-- Highest seq up to which everything from this source is committed. Keyed by URL: a seq
-- means nothing on another host.
create table source_cursor (
    url         text primary key,
    seq         bigint not null,
    updated_at  timestamptz not null default now()
);

-- Nothing is swallowed: what we could not apply waits here, with its reason.
create table rejected_event (
    id               bigint generated always as identity primary key,
    source           text not null,
    digest           bytea not null,      -- sha-256 of raw: a replay adds no second row
    seq              bigint,
    did              text,
    reason           text not null,
    detail           text not null,
    raw              bytea not null,
    attempts         int not null default 1,
    next_attempt_at  timestamptz,         -- null: not worth trying again by itself
    rejected_at      timestamptz not null default now(),
    unique (source, digest)
);
create index rejected_event_due on rejected_event (next_attempt_at) where next_attempt_at is not null;
create index rejected_event_did on rejected_event (did);

-- What we decided about an account and why, oldest first: the story that `sync explain` tells.
create table decision (
    id       bigint generated always as identity primary key,
    did      text not null,
    at       timestamptz not null default now(),
    kind     text not null,             -- state, account, identity, resync, discovery, reconcile, takedown, listing
    outcome  text not null,             -- the new state, status, handle, …
    reason   text not null,
    source   text,                      -- who said it
    seq      bigint                     -- at which of their seqs
);
create index decision_did on decision (did, id desc);

-- Everything that happened, in the order of commit: one row for each transaction, its events packed
-- (storage/outbox.py). The archive and the live feed read from here.
create table outbox (
    last_seq   bigint primary key,
    first_seq  bigint not null,
    at         timestamptz not null default now(),
    events     bytea not null
);
alter table outbox alter column events set storage external;
-- One row, locked last in a transaction: whoever holds it commits next, so seqs appear in order.
create table outbox_head (
    one  boolean primary key default true check (one),
    seq  bigint not null
);
insert into outbox_head (seq) values (0);

-- Sealed Parquet files: every seq of a range, whole.
create table archive_segment (
    first_seq  bigint primary key,
    last_seq   bigint not null unique,
    path       text not null,           -- below the archive folder
    rows       bigint not null,
    bytes      bigint not null,
    sha256     text not null,
    sealed_at  timestamptz not null default now()
);

-- The CAR slice that came with a commit of ours: commit, tree nodes and records, as the author's PDS
-- sent it. Proves every record that has this rev.
create table commit_proof (
    repo_id  int not null,
    rev      text not null,
    car      bytea not null,
    primary key (repo_id, rev)
);
alter table commit_proof alter column car set storage external;

-- How far each enumeration of accounts has come.
create table discovery (
    source       text not null,         -- origin that lists the accounts
    collection   text not null,         -- '' where it can only list all of its accounts
    cursor       text,
    found        bigint not null default 0,
    started_at   timestamptz not null default now(),
    finished_at  timestamptz,
    primary key (source, collection)
);

-- One row for each sweep that compared what we hold with what the PDSs say.
create table reconcile_run (
    id           bigint generated always as identity primary key,
    started_at   timestamptz not null default now(),
    finished_at  timestamptz,
    checked      int not null default 0,
    in_step      int not null default 0,
    healed       int not null default 0,
    unreachable  int not null default 0,
    scope        text not null default 'all',   -- all repos, or some that were named or in doubt
    behind       int not null default 0         -- of those healed: commits that never came
);

-- How many records of ours came by the stream in each hour: what silence is measured by.
create table pulse (
    hour     timestamptz primary key,
    records  bigint not null,
    last_at  timestamptz not null,      -- when the last of them came
    seq      bigint not null            -- of the outbox, up to which this counts
);

-- Who is signed in, and what we may do for them. What a client holds (a session's id, a token, an exchange
-- token, a state) is kept as its sha-256 alone; what we hold for it is sealed with the key ring.

-- The keys that this service signs with as an OAuth client. The newest that is not retired signs; retired
-- ones stay published until no grant was made with them.
create table client_key (
    kid         text primary key,
    secret      bytea not null,         -- sealed: the private JWK
    created_at  timestamptz not null default now(),
    retired_at  timestamptz
);

-- A person on their way to their authorization server and back.
create table oauth_flow (
    state_hash    bytea primary key,
    browser_hash  bytea,                -- of the cookie that binds the flow to a browser; null: none is bound
    kind          text not null check (kind in ('sign_in', 'link', 'token', 'scope')),
    session_id    bigint,               -- whose wish it was: of a link, a token or a wider scope
    secret        bytea not null,       -- sealed: verifier, DPoP key, what must hold on return
    token_name    text,                 -- of the developer token that it is to become
    token_days    int,                  -- how long that lives; null: for ever
    return_to     text,                 -- path on our own pages to come back to
    created_at    timestamptz not null default now(),
    expires_at    timestamptz not null
);
create index oauth_flow_expiry on oauth_flow (expires_at);

-- A grant and whoever holds its key: a browser, or a program with a developer token.
create table session (
    id             bigint generated always as identity primary key,
    token_hash     bytea unique,        -- null until an exchange token was turned into it
    prefix         text,                -- the first characters of the token, by which people name it
    kind           text not null check (kind in ('browser', 'token', 'minted')),
    did            text not null,
    handle         text,                -- verified when they signed in, for as long as their repo is unknown
    browser        bigint,              -- the first session of this browser; linked accounts share it
    name           text,                -- of a developer token
    scope          text not null,       -- as granted
    issuer         text,                -- the authorization server; null: minted here, good for reading alone
    credentials    bytea,               -- sealed: tokens, DPoP key, nonces
    version        int not null default 0,          -- of the credentials: each refresh is one more
    refreshed_at   timestamptz not null default now(),
    lease_until    timestamptz,         -- somebody refreshes until then
    created_at     timestamptz not null default now(),
    used_at        timestamptz not null default now(),
    expires_at     timestamptz,         -- null: never
    ended_at       timestamptz,         -- signed out, revoked, or the grant is gone
    end_reason     text,
    lease_holder   text                 -- who has the lease; null: nobody, or there is no telling
);
create index session_did on session (did) where ended_at is null;
create index session_browser on session (browser) where ended_at is null;
create index session_expiry on session (expires_at) where ended_at is null;

-- Sixty seconds in which a frontend may fetch the session that a callback made.
create table exchange_token (
    token_hash    bytea primary key,
    session_id    bigint not null references session on delete cascade,
    browser_hash  bytea,                -- of the cookie that the flow was bound to
    expires_at    timestamptz not null,
    used_at       timestamptz
);
create index exchange_token_expiry on exchange_token (expires_at);

-- Ids of service tokens that were seen: each is good once. Not worth surviving a crash, since none lives
-- for longer than minutes.
create unlogged table used_token (
    issuer      text not null,
    jti         text not null,
    expires_at  timestamptz not null,
    primary key (issuer, jti)
);
create index used_token_expiry on used_token (expires_at);

-- What happened to people's access, for themselves and for the operator. Never a secret.
create table audit_event (
    id       bigint generated always as identity primary key,
    at       timestamptz not null default now(),
    event    text not null,
    did      text,
    session  bigint,
    client   text,                      -- address of the client
    detail   jsonb not null default '{}'
);
create index audit_event_did on audit_event (did, id desc);

-- Accounts that ask to be forgotten: each step is done before the next is written down. What is finished
-- holds numbers alone.
create table account_deletion (
    id              bigint generated always as identity primary key,
    did             text,               -- null once it is finished
    session_id      bigint,             -- its credentials remove what lies on the PDS
    remove_records  boolean not null,
    step            text not null,
    counts          jsonb not null default '{}',
    warnings        jsonb not null default '[]',
    attempts        int not null default 0,         -- of this step
    due             timestamptz default now(),      -- null: nothing to do; while somebody works, their lease
    error           text,
    upto_seq        bigint,             -- of the outbox: what it says of the account up to here is wiped
    requested_at    timestamptz not null default now(),
    finished_at     timestamptz,
    holder          text                -- who has the lease; null: nobody, or there is no telling
);
create unique index account_deletion_open on account_deletion (did) where finished_at is null;
create index account_deletion_due on account_deletion (due) where due is not null;

-- Whom we were asked to forget: the sha-256 of their DIDs, so that they are not taken in again.
create table forgotten (
    did_hash  bytea primary key,
    at        timestamptz not null default now()
);

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
    touched_at  timestamptz not null default now(),
    part        text check (part in ('sound', 'cover')),    -- of its owner's upload; null: a job makes it
    plan        jsonb,                  -- what is to become of a sound that comes in parts; null: in one piece
    lease       uuid,                   -- who is adding to it now
    lease_until timestamptz
);
create index staged_upload_touched on staged_upload (touched_at);
create index staged_upload_did on staged_upload (did) where part is not null;

-- Work that outlives a request, as its owner sees it; the queue itself is procrastinate's, in a schema of its own.
create table job (
    id           uuid primary key default gen_random_uuid(),
    kind         text not null,         -- which task does it
    lane         text not null default 'light',     -- whose places it waits for
    did          text,                  -- whose it is; null: the house's own
    subject      text,                  -- what it is about: one unfinished job of a kind at a time
    args         jsonb not null default '{}',
    state        text not null default 'pending'
                 check (state in ('pending', 'running', 'done', 'failed', 'cancelled')),
    phase        text,                  -- the step that it is at
    facts        jsonb not null default '{}',       -- what the steps behind it came to; resumed from here
    progress     real check (progress between 0 and 1),    -- of this phase; null: nobody can tell
    message      text,                  -- what is being done, for its owner
    attempts     int not null default 0,            -- the number of the newest: it only grows
    uncounted    int not null default 0,            -- of these, those that are not held against it
    error        text,                  -- why it failed, for its owner; before its end: it is being undone
    warnings     jsonb not null default '[]',
    result       jsonb,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    finished_at  timestamptz,
    cancel_asked_at timestamptz         -- somebody wants it to end
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create unique index job_subject on job (kind, subject) where finished_at is null;
create index job_did on job (did, created_at desc);
create index job_unfinished on job (updated_at) where finished_at is null;
create index job_kind on job (kind, created_at desc);

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
    cover_id      bigint references blob,
    job_id        uuid,                 -- who is making it
    published_at  timestamptz,          -- since when its record is on the PDS; null: it is not yet
    created_at    timestamptz not null default now(),
    primary key (did, rkey),
    unique (did, original_id)           -- nobody uploads the same twice
);
create index track_media_original on track_media (original_id);
create index track_media_stream on track_media (stream_id);
create index track_media_cover on track_media (cover_id);

-- What a track sounded like before: the last of these were kept.
create table track_revision (
    did          text not null,
    rkey         text not null,
    revision     int not null,          -- counts from 1
    original_id  bigint not null references blob,
    stream_id    bigint not null references blob,
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

-- Images of which it is known how large they are, and so which renditions they must have; or why they cannot be
-- drawn. Renditions themselves are not here.
create table image_drawn (
    blob_id   bigint primary key references blob on delete cascade,
    width     int,                  -- pixels; null: it cannot be drawn
    error     text,
    drawn_at  timestamptz not null default now(),
    check ((width is null) <> (error is null))
);

-- What was made of a sound beside it: an MP3 of a mirrored one that does not play everywhere, and an Opus, which is
-- smaller, of what artists uploaded. Its owner in blob_owner is kind 'sound', owner the id of that sound's blob: it
-- stays as long.
create table sound_rendition (
    blob_id       bigint not null references blob on delete cascade,
    rendition_id  bigint not null references blob,
    format        text not null default 'mp3' check (format in ('mp3', 'opus')),
    primary key (blob_id, format)
);
create index sound_rendition_of on sound_rendition (rendition_id);

-- What nothing proves yet: hearsay, and what we wrote ourselves until its echo comes.
create index record_unproven on record (rev) where not verified;

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
create index play_day_day on play_day (day);
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

-- Whose turn it is to change one thing on one person's PDS. The row goes with the turn, but for a record of which
-- nobody knows whether it was written.
create table write_turn (
    did         text not null,
    what        text not null,          -- like 17, fm.plyr.comment/3k…
    rkey        text,                   -- under which the record was written, or may have been
    held_until  timestamptz not null,
    -- Whoever has a turn may die with it: then the connection on which it took the turn is gone, and nobody waits.
    holder_pid  int,                    -- of the backend, null: held by the lease alone
    holder_since timestamptz,           -- when that backend began
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

-- Sound that lies on other people's PDSs: which tracks want theirs fetched, and how that went.

-- Tracks whose record names a blob; the sweep looks at no others.
create index track_blob on track (id) where card like '%"audioBlob":{%';

create table mirror (
    did         text not null,
    rkey        text not null,
    record_cid  text not null,          -- the version of the record that this is about
    attempts    int not null default 0, -- that came to nothing
    due         timestamptz default now(),      -- when to fetch it; null: it is here, or will never be
    error       text,                   -- why it is not here
    updated_at  timestamptz not null default now(),
    primary key (did, rkey)
);
create index mirror_due on mirror (due) where due is not null;

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

-- What another index of the network's links said of a track's likes, beside what we count.
create table link_check (
    track_id    bigint primary key,       -- track_uri.id
    ours        int not null,             -- accounts that like it
    theirs      int not null,
    checked_at  timestamptz not null default now()
);
create index link_check_age on link_check (checked_at);
-- What its owner gave a list. The blob's owner in blob_owner is kind 'list', owner 'did/name'.
create table list_look (
    did          text not null,
    name         text not null,         -- the list's rkey; of an album that has no list, its album_id
    cover_id     bigint references blob,
    description  text,
    on_profile   boolean not null default false,    -- of a playlist: shown with its owner's profile
    created_at   timestamptz not null default now(),
    primary key (did, name)
);
create index list_look_cover on list_look (cover_id);

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
    resolution      text check (
        resolution in ('pending', 'violation', 'false_positive', 'original_artist', 'no_action')),
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

-- Moderation: what is judged, by whom, and what we say of it to others. A subject is written as lexicons/subject.py
-- says.

-- Something that a person has to look at. A subject has one open case at most.
create table moderation_case (
    id           bigint generated always as identity primary key,
    subject      text not null,
    did          text not null,         -- whose it is
    opened_by    text not null check (opened_by in ('scan', 'report', 'notice', 'appeal', 'hand', 'strikes')),
    state        text not null default 'open' check (state in ('open', 'resolved')),
    resolution   text check (resolution in ('violation', 'false_positive', 'original_artist', 'no_action')),
    opened_at    timestamptz not null default now(),
    resolved_at  timestamptz,
    resolved_by  text,                  -- DID of a person, or `operator`, from the command line
    reason       text,                  -- a code: what it is opened for, then what it was resolved for
    check ((state = 'resolved') = (resolution is not null and resolved_at is not null))
);
create unique index moderation_case_open on moderation_case (subject) where state = 'open';
create index moderation_case_did on moderation_case (did, id desc);
create index moderation_case_queue on moderation_case (opened_at, id) where state = 'open';
create index moderation_case_subject on moderation_case (subject, id desc);
create index moderation_case_strikes on moderation_case (did)
    where resolution = 'violation' and reason = 'copyright';

-- All that happened to subjects, oldest first. Rows are added, never changed and never removed.
create table moderation_event (
    id        bigint generated always as identity primary key,
    at        timestamptz not null default now(),
    case_id   bigint references moderation_case,    -- null: about no case
    subject   text not null,
    did       text not null,            -- whose the subject is
    action    text not null,            -- as appview/moderation/actions.py names them
    actor     text not null,            -- DID of who did it; `operator`; `plyr`: by itself
    proof     text not null check (proof in ('session', 'service', 'key', 'command', 'self')),  -- how we know who
    reason    text,                     -- a code: copyright, spam, …
    note      text,                     -- in the actor's words; never shown in public
    detail    jsonb not null default '{}'
);
create index moderation_event_subject on moderation_event (subject, id desc);
create index moderation_event_case on moderation_event (case_id, id) where case_id is not null;
create index moderation_event_did on moderation_event (did, id desc);

create function moderation_event_stays() returns trigger language plpgsql as
$$ begin raise exception 'moderation_event is append-only'; end $$;
create trigger moderation_event_stays before update or delete or truncate on moderation_event
    for each statement execute function moderation_event_stays();

-- Somebody claims that a subject is theirs, and what its author answers. Nothing here is shown in public.
create table moderation_notice (
    id           bigint generated always as identity primary key,
    case_id      bigint not null references moderation_case,
    subject      text not null,
    did          text not null,         -- whose the subject is
    claimant     text not null,         -- who claims it, and how they are reached
    statement    text not null,         -- in the claimant's words
    state        text not null default 'received'
                 check (state in ('received', 'upheld', 'rejected', 'countered', 'sued', 'restored')),
    received_at  timestamptz not null,
    answer       text,                  -- the counter-notice, in its author's words
    answered_at  timestamptz,
    due          timestamptz,           -- received: when it is to be decided; countered: when the subject comes back
    check ((state in ('received', 'countered')) = (due is not null)),
    check ((answer is null) = (answered_at is null))
);
create index moderation_notice_subject on moderation_notice (subject, id);
create index moderation_notice_due on moderation_notice (due) where due is not null;

-- What we sign labels with. The newest signs.
create table label_key (
    id          int generated always as identity primary key,
    public      text not null unique,   -- did:key
    secret      bytea not null,         -- sealed
    created_at  timestamptz not null default now()
);

-- Our labels, as they are sent: a negation is a label of its own. Seqs appear in the order of commit, without a gap.
create table label (
    seq      bigint primary key,
    uri      text not null,             -- DID or at-uri that it is about
    cid      text,                      -- of the version that it is about alone
    val      text not null,
    neg      boolean not null default false,
    cts      text not null,             -- as it was signed
    exp      text,
    src      text not null,
    key_id   int not null references label_key,
    sig      bytea not null
);
create index label_uri on label (uri, val, seq desc);
create table label_head (
    one  boolean primary key default true check (one),
    seq  bigint not null
);
insert into label_head (seq) values (0);

-- What a sound is found by: those words of its fingerprint that were picked (appview/moderation/terms.py). Of a sound
-- and its rendition only the former.
create table fingerprint (
    sound_id  bigint primary key references sound on delete cascade,
    terms     int[] not null
);
-- Without a list of what is to be added yet: a query would read all of that.
create index fingerprint_terms on fingerprint using gin (terms) with (fastupdate = off);

-- What labelers that we listen to say of accounts and of records like ours: the last word on each value.
create table foreign_label (
    src      text not null,
    uri      text not null,
    val      text not null,
    cid      text,
    neg      boolean not null,
    cts      text not null,             -- as it was signed
    exp      text,
    said_at  timestamptz not null,      -- what cts says
    ends_at  timestamptz,               -- what exp says
    primary key (uri, src, val)
);

-- How far each of them was heard.
create table foreign_labeler (
    did       text primary key,
    seq       bigint not null default 0,
    heard_at  timestamptz,
    refused   bigint not null default 0,    -- labels that did not hold
    refusal   text                          -- why the last of them did not
);

-- Sound that lies wherever a record says: whether its address answers. Nobody is sent to one that does not.

-- Tracks whose record has an address of its sound; the job looks at no others.
create index track_far on track (id, cid) where rest not like '%"audio_storage":"pds"%';

create table far_sound (
    track_id    bigint primary key,     -- track_uri.id
    record_cid  text not null,          -- the version of the record that was looked at last
    url         text,                   -- that was asked; null: none yet
    error       text,                   -- why it is not to be had
    attempts    int not null default 0, -- in a row that came to nothing
    due         timestamptz default now(),      -- when to ask next; null: there is nothing to ask
    checked_at  timestamptz             -- when it was asked
);
create index far_sound_due on far_sound (due) where due is not null;

-- Images that a decision found to be sensitive and left in sight: clients show them to those who want to see them.
create table sensitive_image (
    did        text not null,       -- whose it is, by the decision
    sha256     bytea not null check (length(sha256) = 32),
    reason     text not null,
    marked_at  timestamptz not null default now(),
    primary key (sha256, did)
);
