-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: newest
-- The newest tracks that are listed: enough for one file of a sitemap with their artists and albums. Whose account is
-- out of sight, an index of those alone knows; "limit", as in sight.sql.
select t.id, t.sort_at::date, r.handle, t.album
  from track t
  join repo r on r.id = t.repo_id
 where not t.unlisted
   and (select true from profile where repo_id = t.repo_id and hidden limit 1) is null
 order by t.sort_at desc, t.id desc
 limit $1::int
