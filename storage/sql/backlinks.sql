-- Statements for storage/reader.py: who points at a track. $1 is the track's URI; accounts out of sight count for
-- nothing. Pages start behind the place $2, $3, $4 and have at most $5 rows, latest first.

-- name: counts
-- How many records of each kind point at it, and of how many accounts; of kind $2 alone, if it is not null. Counters know
-- the accounts that like it and the comments; records of likes are counted if $3.
with target as (select id from track_uri where uri = $1::text),
     few as materialized ({few})
select 'like' source,
       (select count(*) from "like" x where $3::boolean and x.track_id = s.id and {seen}),
       s.likes
  from track_stat s
 where coalesce($2::text, 'like') = 'like' and s.id = (select id from target)
union all
select 'comment', s.comments,
       (select count(distinct x.repo_id) from comment x where x.track_id = s.id and {seen})
  from track_stat s
 where coalesce($2::text, 'comment') = 'comment' and s.id = (select id from target)
union all
select 'list', count(distinct i.list_id), count(distinct x.repo_id)
  from list_item i
  join list x on x.id = i.list_id
 where coalesce($2::text, 'list') = 'list' and i.track_id = (select id from target)
   and {seen}

-- name: likes
-- Likes of it; the index gives the order.
select r.did, l.rkey, l.sort_at, l.repo_id from (
    select l.rkey, l.sort_at, l.repo_id
      from "like" l
      join profile p on p.repo_id = l.repo_id and not p.hidden
     where l.track_id = (select id from track_uri where uri = $1::text)
       and (l.sort_at, l.repo_id, l.rkey) < ($2::timestamptz, $3::int, $4::text)
     order by l.sort_at desc, l.repo_id desc, l.rkey desc
     limit 101) l
  join repo r on r.id = l.repo_id
 order by l.sort_at desc, l.repo_id desc, l.rkey desc
 limit $5::int

-- name: comments
-- Comments on it: sorted first, so that the accounts of a page alone are looked for.
select r.did, c.rkey, c.sort_at, c.repo_id from (
    select o.rkey, o.sort_at, o.repo_id
      from (select c.rkey, c.sort_at, c.repo_id
              from comment c
             where c.track_id = (select id from track_uri where uri = $1::text)
               and (c.sort_at, c.repo_id, c.rkey) < ($2::timestamptz, $3::int, $4::text)
             order by c.sort_at desc, c.repo_id desc, c.rkey desc) o
     where exists (select from profile p where p.repo_id = o.repo_id and not p.hidden)
     limit 101) c
  join repo r on r.id = c.repo_id
 order by c.sort_at desc, c.repo_id desc, c.rkey desc
 limit $5::int

-- name: lists
-- Lists with it, each once, likewise.
select r.did, s.rkey, s.sort_at, s.repo_id from (
    select o.rkey, o.sort_at, o.repo_id
      from (select s.rkey, s.sort_at, s.repo_id
              from list s
             where s.id = any (array(select i.list_id
                                       from list_item i
                                      where i.track_id = (select id from track_uri where uri = $1::text)))
               and (s.sort_at, s.repo_id, s.rkey) < ($2::timestamptz, $3::int, $4::text)
             order by s.sort_at desc, s.repo_id desc, s.rkey desc) o
     where exists (select from profile p where p.repo_id = o.repo_id and not p.hidden)
     limit 101) s
  join repo r on r.id = s.repo_id
 order by s.sort_at desc, s.repo_id desc, s.rkey desc
 limit $5::int
