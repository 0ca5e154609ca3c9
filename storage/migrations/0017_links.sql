-- Who points at a track is asked from the track's side, of lists, too.

create index list_item_track on list_item (track_id, list_id);

-- What another index of the network's links said of a track's likes, beside what we count.
create table link_check (
    track_id    bigint primary key,       -- track_uri.id
    ours        int not null,             -- accounts that like it
    theirs      int not null,
    checked_at  timestamptz not null default now()
);
create index link_check_age on link_check (checked_at);
