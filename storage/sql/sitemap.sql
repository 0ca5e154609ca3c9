-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: newest
-- The newest tracks that are listed: enough for one file of a sitemap with their artists and albums. There are few
-- accounts out of sight, which are looked for once and not for each track.
with unseen as materialized (select repo_id from profile where hidden)
select t.id, t.sort_at::date, r.handle, t.album
  from track t
  join repo r on r.id = t.repo_id
 where not t.unlisted and t.repo_id not in (select repo_id from unseen)
 order by t.sort_at desc, t.id desc
 limit $1::int
