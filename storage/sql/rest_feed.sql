-- Listings that only REST has, as skeletons of feed.sql: $1 is the viewer's DID or null.

-- name: by_artist
-- As feed's by_actor, of the account with DID $5, if it can be shown.
select * from (
    select t.id, {track}, p.card author, t.sort_at a, t.id b
      from track t
      join profile p on p.repo_id = t.repo_id and not p.hidden
     where t.repo_id = (select id from repo where did = $5::text)
       and (t.sort_at, t.id) < ($2::timestamptz, $3::bigint)
     order by t.sort_at desc, t.id desc
     limit 101) page
 limit $4::int

-- name: tagged
-- Everybody's tracks with any of the tags $5, or those of the account with DID $6. Each tag has its tracks in order, so
-- of each the first that can be shown are enough; and an account has so many tracks as it has.
select t.id, {track}, p.card author, page.a, page.b
  from ((select distinct n.sort_at a, n.track_id b
           from unnest($5::text[]) asked (tag)
          cross join lateral (
                select n.sort_at, n.track_id
                  from track_tag n
                  join profile p on p.repo_id = n.repo_id and not p.hidden
                 where n.tag = asked.tag and (n.sort_at, n.track_id) < ($2::timestamptz, $3::bigint)
                 order by n.sort_at desc, n.track_id desc
                 limit 101) n
          where $6::text is null
          order by 1 desc, 2 desc
          limit 101)
        union all
        (select t.sort_at, t.id
           from track t
           join profile p on p.repo_id = t.repo_id and not p.hidden
          where $6::text is not null and t.repo_id = (select id from repo where did = $6::text)
            and (t.sort_at, t.id) < ($2::timestamptz, $3::bigint)
            and (select n.tags && $5::text[] from track_stat n where n.id = t.id)
          order by t.sort_at desc, t.id desc
          limit 101)) page
  join track t on t.id = page.b
  join profile p on p.repo_id = t.repo_id
 order by page.a desc, page.b desc
 limit $4::int

-- name: liked
-- As feed's liked_by, of the viewer.
select * from (
    select t.id, {track}, p.card author, l.sort_at a, l.rkey b
      from "like" l
      join track t on t.id = l.track_id
      join profile p on p.repo_id = t.repo_id and not p.hidden
     where l.repo_id = (select id from repo where did = $1::text) and (l.sort_at, l.rkey) < ($2::timestamptz, $3::text)
       and not exists (select from "like" m
                        where m.repo_id = l.repo_id and m.track_id = l.track_id
                          and (m.sort_at, m.rkey) < (l.sort_at, l.rkey))
     order by l.sort_at desc, l.rkey desc
     limit 101) page
 limit $4::int

-- name: mine
-- The viewer's own tracks that have $3 in their title or album, if it is not null, by title, plays or time as $2
-- says; so many ($4) after $5. Counted, since the contract has an offset, and only through what one account made.
select t.id, {track}, p.card author, m.a, t.id b
  from (select o.id, o.repo_id,
               -row_number() over (order by case when $2::text = 'title' then lower(o.title) end,
                                            case when $2::text = 'plays' then n.plays end desc,
                                            o.sort_at desc, o.id desc) a
          from track o
          join track_stat n on n.id = o.id
         where o.repo_id = (select id from repo where did = $1::text)
           and ($3::text is null or position(lower($3::text) in lower(o.title || ' ' || coalesce(o.album, ''))) > 0)) m
  join track t on t.id = m.id
  join profile p on p.repo_id = m.repo_id
 where -m.a > $5::bigint and -m.a <= $5::bigint + $4::bigint

-- name: unproven
-- The newest $4 of the viewer's own tracks of collection $3 that nobody has proven since rev $2.
select t.id, {track}, p.card author, t.sort_at a, t.id b
  from repo r
  join record c on c.repo_id = r.id and c.collection = $3::text and not c.verified and c.rev < $2::text
  join track t on t.repo_id = r.id and t.rkey = c.rkey
  join profile p on p.repo_id = r.id
 where r.did = $1::text
 order by t.sort_at desc, t.id desc
 limit $4::int

-- name: by_ids
-- The tracks of the numbers in $2 that are listed, in their order.
select t.id, {track}, p.card author, -u.place a, 0 b
  from unnest($2::bigint[]) with ordinality u(id, place)
  join track t on t.id = u.id and not t.unlisted
  join profile p on p.repo_id = t.repo_id and not p.hidden

-- name: mine_count
-- How many `mine` has with $2 in their title or album.
select count(*)
  from track o
 where o.repo_id = (select id from repo where did = $1::text)
   and ($2::text is null or position(lower($2::text) in lower(o.title || ' ' || coalesce(o.album, ''))) > 0)

-- name: top_since
-- The tracks that were played most from day $1 on, as of the last roll-up. Whether one can be shown is looked at from the
-- best on, for as many as are wanted: sorted first and by "limit", since the planner would read all tracks to join them.
select d.track_id
  from (select track_id, sum(plays) plays
          from play_day
         where day >= $1::date
         group by track_id
         order by sum(plays) desc, track_id desc) d
  cross join lateral (select repo_id from track where id = d.track_id and not unlisted limit 1) t
  cross join lateral (select from profile where repo_id = t.repo_id and not hidden limit 1) p
 order by d.plays desc, d.track_id desc
 limit $2::int

-- name: tags
-- Tags that begin with $1, if it is not null, by how many tracks have them, with their plays; of the newest tracks that
-- have any, so that this ends at any size. Tracks that are gone or unlisted have no tags here but in their counters.
with newest as materialized (
    select id, plays from track_stat where tags is not null order by id desc limit 2000
), few as materialized (
    {few}
)
select x.tag, count(*), sum(s.plays)
  from track_tag x
  join newest s on s.id = x.track_id
 where x.track_id >= (select min(id) from newest)
   and ($1::text is null or starts_with(x.tag, $1::text))
   and {seen}
 group by x.tag
 order by count(*) desc, x.tag
 limit $2::int

-- name: tag
-- How many tracks that are listed have this tag, of 10,000 at most.
with few as materialized ({few})
select count(*) from (select from track_tag x where x.tag = $1::text and {seen} limit 10000) n
