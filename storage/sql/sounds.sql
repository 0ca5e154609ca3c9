-- name: put_sound
-- What its head says; what was found by decoding stays.
insert into sound (blob_id, format, codec, rate, channels, duration_s, playable)
values (%(blob_id)s, %(format)s, %(codec)s, %(rate)s, %(channels)s, %(duration_s)s, %(playable)s)
on conflict (blob_id) do nothing

-- name: add_rendition
-- Who makes the same twice keeps the one that there was.
insert into sound_rendition (blob_id, rendition_id, format) values (%(blob_id)s, %(rendition_id)s, %(format)s)
on conflict do nothing returning 1

-- name: has_rendition
-- Asked before a blob is published, so by its hash.
select exists (select from sound_rendition n join blob b on b.id = n.blob_id
               where b.area = 'audio' and b.sha256 = decode(%(sha256)s, 'hex') and n.format = %(format)s)

-- name: original
-- What a track that was made here, and has this sound, was uploaded as; that it has it stays so until the transaction
-- ends. Nothing, where there is such a rendition already.
select b.id, b.area, encode(b.sha256, 'hex') as sha256, b.bytes, b.crc32, b.mime, b.state, b.owners, b.unowned_at
from track_media m join blob b on b.id = m.original_id
where m.stream_id = %(blob_id)s and m.published_at is not null
  and not exists (select from sound_rendition where blob_id = %(blob_id)s and format = %(format)s)
limit 1 for share of m

-- name: without
-- Sounds of tracks that were made here and have no such rendition, the newest first; those aside about which a job of
-- this kind is remembered.
select m.stream_id from track_media m
where m.original_id is not null and m.published_at is not null
  and not exists (select from sound_rendition n where n.blob_id = m.stream_id and n.format = %(format)s)
  and not exists (select from job j where j.kind = %(kind)s and j.subject = m.stream_id::text)
group by m.stream_id order by max(m.published_at) desc limit %(limit)s

-- name: put_analysis
-- What was found by decoding it.
update sound
set loudness_lufs = %(loudness_lufs)s, range_lu = %(range_lu)s, peak_dbfs = %(peak_dbfs)s, peaks = %(peaks)s,
    fingerprint = %(fingerprint)s
where blob_id = %(blob_id)s

-- name: is_analysed
-- These bytes were decoded before, and have a fingerprint of it.
select exists (select from sound where blob_id = %(blob_id)s and fingerprint is not null)

-- name: copy_analysis
-- Of the same sound in another form.
update sound t
set loudness_lufs = s.loudness_lufs, range_lu = s.range_lu, peak_dbfs = s.peak_dbfs, peaks = s.peaks,
    fingerprint = s.fingerprint
from sound s where s.blob_id = %(from_id)s and t.blob_id = %(to_id)s and t.fingerprint is null

-- name: unheard
-- Sounds of tracks that have no fingerprint, themselves or as what is played for them, the newest first; those aside
-- about which a job of this kind is remembered.
select s.blob_id from track_media m
join sound s on s.blob_id = coalesce(m.original_id, m.stream_id)
join blob b on b.id = s.blob_id and b.state = 'published'
join sound p on p.blob_id = m.stream_id
where m.published_at is not null and (s.fingerprint is null or p.fingerprint is null)
  and not exists (select from job j where j.kind = %(kind)s and j.subject = s.blob_id::text)
group by s.blob_id order by max(m.published_at) desc limit %(limit)s

-- name: played_for
-- What tracks play for a sound, as not every browser plays it.
select distinct stream_id from track_media where original_id = %(blob_id)s and stream_id <> %(blob_id)s
