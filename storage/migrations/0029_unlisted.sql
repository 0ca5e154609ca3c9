-- Our own decision that a track is in no listing, and still where it is asked for.
alter table record add column unlisted text;        -- why; stays over updates, deletes and new versions
alter table track add column unlisted boolean not null default false;
