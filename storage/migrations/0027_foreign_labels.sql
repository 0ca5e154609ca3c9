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
