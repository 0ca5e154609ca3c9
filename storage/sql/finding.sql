-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: artists
-- Accounts whose handle and display name answer the query $1; $2 of them.
select p.card
  from profile p
 where p.search @@ to_tsquery('simple', $1::text) and not p.hidden
 order by ts_rank(p.search, to_tsquery('simple', $1::text), 2) desc, p.repo_id desc
 limit $2::int

-- name: albums
-- Albums that may answer the query $1: of tracks that have all of its words, the newest 2000, and of the newest lists
-- those whose name is like each pattern of $2. An album once, with what one of its tracks shows.
select f.title, p.card, f.rest
  from (select distinct on (a.album_id) a.album_id, a.title, a.repo_id, a.rest
          from ((select t.album_id, t.album title, t.repo_id, t.rest
                   from track t
                  where t.search @@ to_tsquery('simple', $1::text) and t.album_id is not null
                  order by t.id + 0 desc
                  limit 2000)
                union all
                (select l.album_id, l.name, l.repo_id, null
                   from (select * from list order by id desc limit 20000) l
                  where l.album_id is not null and lower(l.name) like all ($2::text[]))) a
         order by a.album_id, a.rest is null) f
  join profile p on p.repo_id = f.repo_id and not p.hidden
 limit 200
