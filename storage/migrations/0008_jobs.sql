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
);
create unique index job_subject on job (kind, subject) where finished_at is null;
create index job_did on job (did, created_at desc);
create index job_unfinished on job (updated_at) where finished_at is null;
create index job_kind on job (kind, created_at desc);
