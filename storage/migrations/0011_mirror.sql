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
