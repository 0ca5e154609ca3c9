-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: albums
-- Albums that may answer the query $1: of the tracks that have its rare words $3 (null: there are none), and, if $4, of
-- the newest, those that have all of its words, and of the newest lists those whose name is like each pattern of $2. An
-- album once, with what one of its tracks shows.
select f.title, p.card, t.rest
  from (select distinct on (a.album_id) a.album_id, a.title, a.repo_id, a.id
          from ((select r.album_id, r.album title, r.repo_id, r.id
                   from (select album_id, album, repo_id, id, search
                           from track
                          where search @@ to_tsquery('simple', $3::text) and not unlisted
                          limit 3000) r
                  where r.album_id is not null and r.search @@ to_tsquery('simple', $1::text))
                union all
                (select n.album_id, n.album, n.repo_id, n.id
                   from (select album_id, album, repo_id, id, search
                           from track
                          where $4::boolean and not unlisted
                          order by sort_at desc, id desc
                          limit 5000) n
                  where n.album_id is not null and n.search @@ to_tsquery('simple', $1::text)
                  limit 1000)
                union all
                (select l.album_id, l.name, l.repo_id, null
                   from (select * from list order by id desc limit 5000) l
                  where l.album_id is not null and lower(l.name) like all ($2::text[]))) a
         order by a.album_id, a.id is null, a.id desc) f
  join profile p on p.repo_id = f.repo_id and not p.hidden
  left join track t on t.id = f.id
 limit 200
