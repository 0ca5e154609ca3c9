-- What makes the index whole: when to look at an account again and why, what was decided, what
-- happened in which order, and which bytes prove a record.

alter table repo
    add column account_due    timestamptz,              -- when to ask its current PDS how it stands
    add column account_tries  int not null default 0,
    add column account_claim  text,                     -- what a source said last, until its PDS was asked
    add column taken_down     text,                     -- our own decision, with its reason; upstream's is `active`
    add column resync_due     timestamptz default now(),-- when to fetch the repo; null: nothing is missing
    add column resync_tries   int not null default 0,   -- failures since it last worked
    add column resync_error   text,                     -- why the last one failed
    add column synced_rev     text,                     -- of the last whole read: older commits say nothing new
    add column checked_at     timestamptz;              -- when its PDS last confirmed what we hold
create index repo_account_due on repo (account_due) where account_due is not null;
create index repo_resync_due on repo (resync_due) where resync_due is not null;
create index repo_checked_at on repo (checked_at nulls first);
-- What was missing before this version is fetched soon; whoever is in step has nothing due.
update repo set resync_due = null where state = 'active';

-- What waits of one account, for whoever asks why it looks as it does.
create index rejected_event_did on rejected_event (did);

-- What we decided about an account and why, oldest first: the story that `sync explain` tells.
create table decision (
    id       bigint generated always as identity primary key,
    did      text not null,
    at       timestamptz not null default now(),
    kind     text not null,             -- state, account, identity, resync, discovery, reconcile, takedown
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
    unreachable  int not null default 0
);
