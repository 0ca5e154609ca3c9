-- What is judged, by whom, and what we say of it to others. A subject is written as lexicons/subject.py says.

-- Something that a person has to look at. A subject has one open case at most.
create table moderation_case (
    id           bigint generated always as identity primary key,
    subject      text not null,
    did          text not null,         -- whose it is
    opened_by    text not null check (opened_by in ('scan', 'report', 'notice', 'appeal', 'hand')),
    state        text not null default 'open' check (state in ('open', 'resolved')),
    resolution   text check (resolution in ('violation', 'false_positive', 'original_artist', 'no_action')),
    opened_at    timestamptz not null default now(),
    resolved_at  timestamptz,
    resolved_by  text,                  -- DID of a person, or `operator`, from the command line
    check ((state = 'resolved') = (resolution is not null and resolved_at is not null))
);
create unique index moderation_case_open on moderation_case (subject) where state = 'open';
create index moderation_case_did on moderation_case (did, id desc);
create index moderation_case_queue on moderation_case (opened_at, id) where state = 'open';

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
