-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: blob
-- A blob of area $1 by its hash ($2), or of an image the smallest rendition that is at least $3 pixels wide, or of a
-- sound its rendition in format $4, else nothing; as 'mp3' the sound itself if every browser plays it. And whether it may
-- be seen: it is of a track that is in sight, or of one whose account is hidden; or of a list or of an album that is a
-- title alone, likewise. What we took down of an account is hidden as if that were, a track's original with what is
-- played of it. A rendition is seen where its image or sound is. What only a revision has (did/rkey/n) is not of
-- its track any more, and an original is for its artist alone, unless it is what is played.
with wanted as materialized (
    select id, sha256, mime,
           $4::text = 'opus'
           or $4::text = 'mp3' and exists (select from sound where blob_id = blob.id and not playable) as another
      from blob where area = $1::text and sha256 = $2::bytea and state = 'published'
), owner as materialized (
    select o.kind, o.owner, o.blob_id
      from wanted w join blob_owner o on o.blob_id = w.id and o.kind in ('track', 'list')
    union all
    select o.kind, o.owner, o.blob_id
      from wanted w
      join blob_owner i on i.blob_id = w.id and i.kind in ('image', 'sound')
      join blob_owner o on o.blob_id = case when i.kind in ('image', 'sound') then i.owner::bigint end
                       and o.kind in ('track', 'list')
), sight as materialized (
    select p.hidden or (r.withheld is not null and exists (
               select from blob b
                where (b.id = o.blob_id
                       or o.blob_id in (m.original_id, m.stream_id) and b.id in (m.original_id, m.stream_id))
                  and r.withheld ? encode(b.sha256, 'hex'))) as hidden, t.title
      from owner o
      join repo r on r.did = split_part(o.owner, '/', 1)
      join profile p on p.repo_id = r.id
      left join track t on t.repo_id = r.id and t.rkey = split_part(o.owner, '/', 2)
      left join track_media m on m.did = r.did and m.rkey = split_part(o.owner, '/', 2)
     where o.kind = 'track' and split_part(o.owner, '/', 3) = ''
       and ($1::text = 'private' or m.original_id is distinct from o.blob_id or m.stream_id = o.blob_id)
    union all
    select p.hidden or (r.withheld is not null and exists (
               select from blob b where b.id = o.blob_id and r.withheld ? encode(b.sha256, 'hex'))),
           coalesce(l.name, case when l.id is not null then '' end, a.album)
      from (select split_part(owner, '/', 1) as did, split_part(owner, '/', 2) as name, blob_id
              from owner where kind = 'list') o
      join repo r on r.did = o.did
      join profile p on p.repo_id = r.id
      left join list l on l.repo_id = r.id and l.rkey = o.name
      left join lateral (
          select t.album from track t
           where t.album_id = case when length(o.name) = 36 then o.name::uuid end
           limit 1) a on true
)
select encode(coalesce(s.sha256, p.sha256, w.sha256), 'hex'), coalesce(s.mime, p.mime, w.mime),
       (select min(title) from sight where not hidden), (select bool_or(hidden) from sight)
  from wanted w
  left join lateral (
      select b.sha256, b.mime
        from image_rendition n join blob b on b.id = n.rendition_id and b.state = 'published'
       where n.blob_id = w.id and n.width >= $3::int
       order by n.width
       limit 1) s on true
  left join lateral (
      select b.sha256, b.mime
        from sound_rendition n join blob b on b.id = n.rendition_id and b.state = 'published'
       where n.blob_id = w.id and n.format = $4::text and w.another) p on true
 where p.sha256 is not null or w.another is not true

-- name: elsewhere
-- What REST shows of tracks whose sound is called $1, and the address that answers for it, if one does: where it is,
-- if it is not here. Those first that have such an address, and the oldest.
select t.rest, f.url
  from track t
  join profile p on p.repo_id = t.repo_id and not p.hidden
  left join far_sound f on f.track_id = t.id and f.error is null and f.url is not null
 where t.file_id = $1::text and t.rest is not null
 order by f.url is null, t.id
 limit 8

-- name: of_track
-- What track $1 is played and shown with, where we have it: made here, or mirrored; the Opus of its sound; and
-- whether its cover is sensitive.
select encode(coalesce(p.sha256, s.sha256), 'hex'), coalesce(p.mime, s.mime), encode(c.sha256, 'hex'),
       encode(o.sha256, 'hex'), exists (select from sensitive_image i where i.sha256 = c.sha256)
  from track t
  join repo r on r.id = t.repo_id
  join track_media m on m.did = r.did and m.rkey = t.rkey
  left join blob s on s.id = m.stream_id and s.state = 'published' and s.area = 'audio'
                 and (r.withheld ? encode(s.sha256, 'hex')) is not true
  left join sound_rendition n on n.blob_id = s.id and n.format = 'mp3'
  left join blob p on p.id = n.rendition_id and p.state = 'published'
  left join sound_rendition u on u.blob_id = s.id and u.format = 'opus'
  left join blob o on o.id = u.rendition_id and o.state = 'published'
  left join blob c on c.id = m.cover_id and c.state = 'published'
                 and (r.withheld ? encode(c.sha256, 'hex')) is not true
 where t.id = $1::bigint
