-- Statements for storage/reader.py: numbered parameters, prepared once per connection.
-- An album is a list that calls itself one, or, where there is no such list, the tracks that name it. Both have its
-- `album_id`, of account and slug. Of several lists with one id the oldest, by its key, has the name for itself, and
-- the tracks that are in none of them: it has rank 1.

-- name: hydrate
-- Albums ready to show. A skeleton gives repo_id, album_id, list_id (null: tracks alone), rank, title, and by k and n
-- its order. A look that was given when there was no list yet stays with the album. Its picture is that of a track that
-- is listed.
select k.title, k.album_id, k.list_id, l.rkey, k.rank, p.card, r.did, m.tracks, m.plays,
       encode(b.sha256, 'hex'),
       (select ('{' || t.card || '}')::json ->> 'image' from track t where t.id = m.first),
       c.description, translate(encode(convert_to(k.k, 'UTF8'), 'base64'), E'\n', ''), k.repo_id, k.n
  from ({skeleton}) k
  join profile p on p.repo_id = k.repo_id and not p.hidden
  join repo r on r.id = k.repo_id
  left join list l on l.id = k.list_id
  cross join lateral (
      select count(*) tracks, coalesce(sum(s.plays), 0)::bigint plays,
             (array_agg(t.id order by i.position, t.sort_at, t.id) filter (where not t.unlisted))[1] first
        from ({on_album}) i
        join track t on t.id = i.track_id
        join profile o on o.repo_id = t.repo_id and not o.hidden
        join track_stat s on s.id = t.id) m
  left join lateral (
      select o.cover_id, o.description
        from list_look o
       where o.did = r.did and (o.name = l.rkey or (k.rank = 1 and o.name = k.album_id::text))
       order by o.name is distinct from l.rkey
       limit 1) c on true
  left join blob b on b.id = c.cover_id and b.state = 'published'
                 and (r.withheld ? encode(b.sha256, 'hex')) is not true
 order by k.k collate "C", k.repo_id, k.album_id, k.n

-- name: on_album
-- Which tracks are on album k, each once: those of the list in its order, then those that name it and are in none of
-- its lists.
select min(e.position) as position, e.track_id from list_item e where e.list_id = k.list_id group by e.track_id
union all
select null, t.id
  from track t
 where k.rank = 1 and t.album_id = k.album_id
   and t.id <> all (array(select e.track_id
                            from list o
                            join list_item e on e.list_id = o.id
                           where o.album_id = k.album_id))

-- name: page
-- All albums by title, after ($1, $2, $3, $4), $5 of them. Lists come out of an index in that order. Titles that
-- tracks name are found by leaping from one to the next in another, up to where lists alone fill the page, so that
-- it makes no difference how many tracks there are. Where a slug is spelled in several ways, the first one counts.
with recursive listed as materialized (
    select lower(l.name) collate "C" as k, l.repo_id, l.album_id, l.id as list_id, l.name as title, l.rkey
      from list l
      join profile p on p.repo_id = l.repo_id and not p.hidden
     where l.album_id is not null
       and (lower(l.name) collate "C", l.repo_id, l.album_id, l.id)
           > (convert_from(decode($1::text, 'base64'), 'UTF8'), $2::int, $3::uuid, $4::bigint)
     order by lower(l.name) collate "C", l.repo_id, l.album_id, l.id
     limit 101
), far as materialized (
    select max(k collate "C") as k from (select k from listed order by k collate "C" limit $5::int) x
    having count(*) = $5::int
), named (k, repo_id, album_id, title, shown, found) as (
    select n.*, n.shown::int from (
        select lower(t.album) collate "C", t.repo_id, t.album_id, t.album, {shown} as shown
          from track t
         where t.album_id is not null
           and (lower(t.album) collate "C", t.repo_id, t.album_id)
               > (convert_from(decode($1::text, 'base64'), 'UTF8'), $2::int, $3::uuid)
         order by lower(t.album) collate "C", t.repo_id, t.album_id, t.id
         limit 1) n
    union all
    select n.k, n.repo_id, n.album_id, n.title, n.shown, d.found + n.shown::int
      from named d
      cross join lateral (
          select lower(t.album) collate "C" as k, t.repo_id, t.album_id, t.album as title, {shown} as shown
            from track t
           where t.album_id is not null
             and (lower(t.album) collate "C", t.repo_id, t.album_id) > (d.k, d.repo_id, d.album_id)
           order by lower(t.album) collate "C", t.repo_id, t.album_id, t.id
           limit 1) n
     where d.found < $5::int and (d.k collate "C" > (select k from far)) is not true
)
select * from (
    select repo_id, album_id, list_id, title, k, list_id as n,
           1 + (select count(*) from list o where o.album_id = x.album_id and o.rkey < x.rkey)::int as rank
      from listed x
    union all
    select repo_id, album_id, null, title, k, 0, 1 from named where shown
) u
 order by k collate "C", repo_id, album_id, n
 limit $5::int

-- name: shown
-- Whether an album stands for itself at this spelling: it has no list, is not hidden, not all of it is unlisted, and it
-- is not spelled in another way that comes first. With "exists" the planner, which does not see how few are asked
-- about, would read the tables.
(select true from list o where o.album_id = t.album_id limit 1) is null
and coalesce((select not p.hidden from profile p where p.repo_id = t.repo_id), false)
and (not t.unlisted
     or (select true from track o where o.album_id = t.album_id and not o.unlisted limit 1) is not null)
and (select true from track o
      where o.album_id = t.album_id and lower(o.album) collate "C" < lower(t.album) collate "C" limit 1) is null

-- name: of_artist
-- The albums of account $1.
select repo_id, album_id, list_id, title, lower(title) as k, coalesce(list_id, 0) as n, rank from (
    select l.repo_id, l.album_id, l.id as list_id, l.name as title,
           (row_number() over (partition by l.album_id order by l.rkey))::int as rank
      from list l
     where l.repo_id = $1::int and l.album_id is not null
    union all
    (select distinct on (t.album_id) t.repo_id, t.album_id, null, t.album, 1
      from track t
     where t.repo_id = $1::int and t.album_id is not null
       and not exists (select from list o where o.album_id = t.album_id)
     order by t.album_id, lower(t.album) collate "C", t.id)) a
 order by lower(title) collate "C", album_id, n
 limit 1000

-- name: one
-- The album of account {repo} with the id $2, of rank $3.
select repo_id, album_id, list_id, title, '' as k, 0 as n, $3::int as rank from (
    (select l.repo_id, l.album_id, l.id as list_id, l.name as title
       from list l
      where l.repo_id = {repo}::int and l.album_id = $2::uuid
      order by l.rkey
      limit 1 offset $3::int - 1)
    union all
    (select t.repo_id, t.album_id, null, t.album
       from track t
      where t.repo_id = {repo}::int and t.album_id = $2::uuid and $3::int = 1
      order by lower(t.album) collate "C", t.id
      limit 1)) a
 order by list_id nulls last
 limit 1

-- name: owner
-- Whose album has the id $1, if it is the first of its name.
select r.id, r.did
  from (select repo_id from list where album_id = $1::uuid
        union all
        select repo_id from track where album_id = $1::uuid
        limit 1) a
  join repo r on r.id = a.repo_id
  join profile p on p.repo_id = r.id and not p.hidden

-- name: of_list
-- The album that list $1 is.
select l.repo_id, l.album_id, l.id as list_id, l.name as title, '' as k, 0 as n,
       1 + (select count(*) from list o where o.album_id = l.album_id and o.rkey < l.rkey)::int as rank
  from list l
 where l.id = $1::bigint and l.album_id is not null

-- name: whole
-- The album of account $4 with the id $2, of rank $3, behind its tracks.
with album as materialized (
    {album}
)
select f.*, k.* from album k cross join ({tracks}) f

-- name: tracks
-- The tracks of an album, in its order.
select * from (
    select t.id, {track}, p.card author, -(row_number() over (order by i.position, t.sort_at, t.id)) a, 0 b
      from album k
      cross join lateral ({on_album}) i
      join track t on t.id = i.track_id
      join profile p on p.repo_id = t.repo_id and not p.hidden) page
 order by a desc
 limit 1000

-- name: members_named
-- Of the tracks $2 those that are there, as below.
select t.id, u.uri, t.cid, t.rkey, t.album_id is not distinct from $1::uuid, r.did = $3::text
  from track t
  join track_uri u on u.id = t.id
  join repo r on r.id = t.repo_id
 where t.id = any ($2::bigint[])

-- name: members
-- The tracks of an album as those who change it need them: number, URI, version, whether the track itself names the
-- album, and whether its record is of account $4.
select t.id, u.uri, t.cid, t.rkey, t.album_id is not distinct from $1::uuid, r.did = $4::text
  from (select $1::uuid as album_id, $2::bigint as list_id, $3::int as rank) k
  cross join lateral ({on_album}) i
  join track t on t.id = i.track_id
  join track_uri u on u.id = t.id
  join repo r on r.id = t.repo_id
 order by i.position, t.sort_at, t.id
