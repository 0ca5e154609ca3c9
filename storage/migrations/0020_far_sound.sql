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
