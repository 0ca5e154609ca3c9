-- What plays in every browser, made of a mirrored sound that does not. Its owner in blob_owner is kind 'sound', owner
-- the id of that sound's blob: it stays as long.
create table sound_rendition (
    blob_id       bigint primary key references blob on delete cascade,
    rendition_id  bigint not null references blob
);
create index sound_rendition_of on sound_rendition (rendition_id);

-- What is here already is fetched once more.
update mirror w set due = now()
from track_media m join sound s on s.blob_id = m.stream_id
where m.did = w.did and m.rkey = w.rkey and m.original_id is null and not s.playable;
