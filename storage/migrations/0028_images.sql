-- Our own decision about bytes of one account: why they are down, by the sha-256 of them, in hex.
alter table repo add column withheld jsonb;     -- null: none are

-- Images that a decision found to be sensitive and left in sight: clients show them to those who want to see them.
create table sensitive_image (
    did        text not null,       -- whose it is, by the decision
    sha256     bytea not null check (length(sha256) = 32),
    reason     text not null,
    marked_at  timestamptz not null default now(),
    primary key (sha256, did)
);
