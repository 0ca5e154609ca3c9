-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: newest
-- The newest tracks that are listed: enough for one file of a sitemap with their artists and albums.
select t.id, t.sort_at, r.handle, t.album
  from track t
  join profile p on p.repo_id = t.repo_id and not p.hidden
  join repo r on r.id = t.repo_id
 where not t.unlisted
 order by t.sort_at desc, t.id desc
 limit $1::int
