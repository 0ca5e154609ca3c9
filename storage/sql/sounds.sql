-- name: put_sound
-- What its head says; what was found by decoding stays.
insert into sound (blob_id, format, codec, rate, channels, duration_s, playable)
values (%(blob_id)s, %(format)s, %(codec)s, %(rate)s, %(channels)s, %(duration_s)s, %(playable)s)
on conflict (blob_id) do nothing

-- name: add_rendition
-- Who makes the same twice keeps the one that there was.
insert into sound_rendition (blob_id, rendition_id) values (%(blob_id)s, %(rendition_id)s)
on conflict do nothing returning 1

-- name: has_rendition
-- Asked before a blob is published, so by its hash.
select exists (select from sound_rendition n join blob b on b.id = n.blob_id
               where b.area = 'audio' and b.sha256 = decode(%(sha256)s, 'hex'))

-- name: put_analysis
-- What was found by decoding it.
update sound
set loudness_lufs = %(loudness_lufs)s, range_lu = %(range_lu)s, peak_dbfs = %(peak_dbfs)s, peaks = %(peaks)s,
    fingerprint = %(fingerprint)s
where blob_id = %(blob_id)s

-- name: is_analysed
-- These bytes were decoded before.
select exists (select from sound where blob_id = %(blob_id)s and loudness_lufs is not null)

-- name: copy_analysis
-- Of the same sound in another form.
update sound t
set loudness_lufs = s.loudness_lufs, range_lu = s.range_lu, peak_dbfs = s.peak_dbfs, peaks = s.peaks,
    fingerprint = s.fingerprint
from sound s where s.blob_id = %(from_id)s and t.blob_id = %(to_id)s and t.loudness_lufs is null
