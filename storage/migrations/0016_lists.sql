-- Albums and playlists as the REST interface knows them: which album a track or a list is of, and what the lexicon of
-- lists has no field for.

alter table track add column album_id uuid;     -- of account and slug (indexer/albums.py); null: of no album
create index track_album on track (album_id, sort_at, id) where album_id is not null;
create index track_album_title on track (lower(album) collate "C", repo_id, album_id, id) where album_id is not null;
-- What was rendered before has it in there, as the last of its members.
update track set album_id = substring(rest from '.*"album":\{"id":"([0-9a-f-]{36})"')::uuid where album is not null;

alter table list add column album_id uuid;      -- of one that calls itself an album, and has a name; else null
create index list_album on list (album_id, rkey) where album_id is not null;
create index list_album_title on list (lower(name) collate "C", repo_id, album_id, id) where album_id is not null;
-- Albums from before they had ids.
create index list_without_id on list (id) where album_id is null and list_type = 'album' and name <> '';

-- What its owner gave a list. The blob's owner in blob_owner is kind 'list', owner 'did/name'.
create table list_look (
    did          text not null,
    name         text not null,         -- the list's rkey; of an album that has no list, its album_id
    cover_id     bigint references blob,
    description  text,
    on_profile   boolean not null default false,    -- of a playlist: shown with its owner's profile
    created_at   timestamptz not null default now(),
    primary key (did, name)
);
create index list_look_cover on list_look (cover_id);
