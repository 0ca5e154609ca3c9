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
    end_reason     text
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
    finished_at     timestamptz
);
create unique index account_deletion_open on account_deletion (did) where finished_at is null;
create index account_deletion_due on account_deletion (due) where due is not null;

-- Whom we were asked to forget: the sha-256 of their DIDs, so that they are not taken in again.
create table forgotten (
    did_hash  bytea primary key,
    at        timestamptz not null default now()
);
