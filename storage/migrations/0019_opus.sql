-- Of a sound several things may be made: an MP3 where it does not play everywhere, and an Opus, which is smaller.

alter table sound_rendition
    add column format text not null default 'mp3' check (format in ('mp3', 'opus')),
    drop constraint sound_rendition_pkey,
    add primary key (blob_id, format);

-- Nothing was ever in these.
drop index track_media_opus;
alter table track_media drop column opus_id;
alter table track_revision drop column opus_id;
