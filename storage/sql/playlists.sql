-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: hydrate
-- Playlists of people who can be shown, newest first, with up to four of their tracks' pictures. A skeleton gives rows
-- of list.
select l.id, l.rkey, l.name, r.did, p.card, l.sort_at, encode(b.sha256, 'hex'), coalesce(k.on_profile, false),
       (select count(*)
          from list_item i
          join track t on t.id = i.track_id
          join profile o on o.repo_id = t.repo_id and not o.hidden
         where i.list_id = l.id),
       (select json_agg(x.image)
          from (select v.image
                  from list_item i
                  join track t on t.id = i.track_id
                  join profile o on o.repo_id = t.repo_id and not o.hidden
                  cross join lateral (select ('{' || t.card || '}')::json ->> 'image' as image) v
                 where i.list_id = l.id and v.image is not null
                 order by i.position
                 limit 4) x)
  from ({skeleton}) l
  join profile p on p.repo_id = l.repo_id and not p.hidden
  join repo r on r.id = l.repo_id
  left join list_look k on k.did = r.did and k.name = l.rkey
  left join blob b on b.id = k.cover_id and b.state = 'published'
                 and (r.withheld ? encode(b.sha256, 'hex')) is not true
 order by l.sort_at desc, l.id desc

-- name: of_owner
-- Those of account $1; with $2 only those that are shown with its profile.
select l.*
  from list l
 where l.repo_id = $1::int and l.list_type = 'playlist'
   and (not $2::boolean or exists (
        select from list_look o join repo r on r.did = o.did
         where r.id = l.repo_id and o.name = l.rkey and o.on_profile))
 order by l.sort_at desc, l.id desc
 limit 500

-- name: by_id
-- The one of number $1.
select l.* from list l where l.id = $1::bigint and l.list_type = 'playlist'

-- name: by_address
-- The one of account $1 with key $2.
select l.*
  from repo o
  join list l on l.repo_id = o.id
 where o.did = $1::text and l.rkey = $2::text and l.list_type = 'playlist'

-- name: tracks
-- The tracks of list $2 as its record has them, one that stands there twice twice.
select t.id, {track}, p.card author, -i.position a, 0 b
  from list_item i
  join track t on t.id = i.track_id
  join profile p on p.repo_id = t.repo_id and not p.hidden
 where i.list_id = $2::bigint
