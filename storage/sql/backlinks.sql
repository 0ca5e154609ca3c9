-- Statements for storage/reader.py: who points at a track. $1 is the track's URI; accounts out of sight count for
-- nothing. Pages start behind the place $2, $3, $4 and have at most $5 rows, latest first.

-- name: counts
-- How many records of each kind point at it, and of how many accounts.
with target as (select id from track_uri where uri = $1::text)
select 'like' source, count(*), count(distinct l.repo_id)
  from target x
  join "like" l on l.track_id = x.id
  join profile p on p.repo_id = l.repo_id and not p.hidden
union all
select 'comment', count(*), count(distinct c.repo_id)
  from target x
  join comment c on c.track_id = x.id
  join profile p on p.repo_id = c.repo_id and not p.hidden
union all
select 'list', count(distinct i.list_id), count(distinct s.repo_id)
  from target x
  join list_item i on i.track_id = x.id
  join list s on s.id = i.list_id
  join profile p on p.repo_id = s.repo_id and not p.hidden

-- name: likes
-- Likes of it.
select r.did, l.rkey, l.sort_at, l.repo_id
  from track_uri x
  join "like" l on l.track_id = x.id
  join profile p on p.repo_id = l.repo_id and not p.hidden
  join repo r on r.id = l.repo_id
 where x.uri = $1::text and (l.sort_at, l.repo_id, l.rkey) < ($2::timestamptz, $3::int, $4::text)
 order by l.sort_at desc, l.repo_id desc, l.rkey desc
 limit $5::int

-- name: comments
-- Comments on it.
select r.did, c.rkey, c.sort_at, c.repo_id
  from track_uri x
  join comment c on c.track_id = x.id
  join profile p on p.repo_id = c.repo_id and not p.hidden
  join repo r on r.id = c.repo_id
 where x.uri = $1::text and (c.sort_at, c.repo_id, c.rkey) < ($2::timestamptz, $3::int, $4::text)
 order by c.sort_at desc, c.repo_id desc, c.rkey desc
 limit $5::int

-- name: lists
-- Lists with it, each once.
select r.did, s.rkey, s.sort_at, s.repo_id
  from (select distinct i.list_id
          from track_uri x
          join list_item i on i.track_id = x.id
         where x.uri = $1::text) k
  join list s on s.id = k.list_id
  join profile p on p.repo_id = s.repo_id and not p.hidden
  join repo r on r.id = s.repo_id
 where (s.sort_at, s.repo_id, s.rkey) < ($2::timestamptz, $3::int, $4::text)
 order by s.sort_at desc, s.repo_id desc, s.rkey desc
 limit $5::int
