-- name: put
-- The same bytes have the same words. Nothing of a sound that is gone.
insert into fingerprint (sound_id, terms) select blob_id, %(terms)s from sound where blob_id = %(sound_id)s
on conflict (sound_id) do nothing

-- name: unindexed
-- Sounds with a fingerprint by which they are not found yet; those aside that were made of another one, and play for it.
select s.blob_id, s.fingerprint from sound s
where octet_length(s.fingerprint) > 0
  and not exists (select from fingerprint f where f.sound_id = s.blob_id)
  and not exists (select from sound_rendition n where n.rendition_id = s.blob_id)
  and not exists (select from track_media m
                  where m.stream_id = s.blob_id and m.original_id is not null and m.original_id <> s.blob_id)
order by s.blob_id limit %(limit)s

-- name: candidates
-- Sounds that share the most terms, with whoever has them. What too many have in common says nothing: a term is given
-- up there, so that silence or a sample that everybody uses costs no more than others. Whose they are is asked of the
-- best alone; they are many, in case most are of whoever asks.
with telling as (
    select array_agg(f.sound_id) as sound_ids
    from unnest(%(terms)s::int[]) t (term)
    cross join lateral (
        select sound_id from fingerprint where terms @> array[t.term] limit %(most_sounds)s
    ) f
    group by t.term having count(*) < %(most_sounds)s
), found as (
    select sound_id, count(*)::int as shared from telling, unnest(sound_ids) u (sound_id)
    group by sound_id having count(*) >= %(least)s
), best as (
    select sound_id, shared from found order by shared desc, sound_id limit %(limit)s * 20
), owned as (
    select b.sound_id, b.shared, m.did, m.rkey from best b join track_media m on m.original_id = b.sound_id
    union
    select b.sound_id, b.shared, m.did, m.rkey from best b join track_media m on m.stream_id = b.sound_id
)
select o.sound_id, o.shared, o.did, o.rkey, s.fingerprint
from (select * from owned where did <> %(besides)s order by shared desc, sound_id, did, rkey limit %(limit)s) o
join sound s on s.blob_id = o.sound_id
order by o.shared desc, o.sound_id, o.did, o.rkey
