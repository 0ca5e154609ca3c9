-- Statements for storage/reader.py: numbered parameters, prepared once per connection.
-- $1 is the viewer's DID or null, $2 and $3 the place after which to go on (the first page starts before
-- everything), $4 how many rows. A skeleton's constant limit is the largest page: it tells the planner,
-- which does not see $4, how little is wanted. Sort keys descend. A skeleton has looked at track and author
-- to decide what may be seen, so it hands their cards on ({track}): looking again would cost two index probes a row.
-- What nobody asked for by name is without unlisted tracks.

-- name: card
-- Of a track, for XRPC.
t.card, t.unlisted

-- name: rest
-- Of a track, for REST, with its author's members of it; what it takes to render it now stands beside it where that was
-- not done yet.
t.rest, p.rest artist, t.album, t.unlisted, t.cid, case when t.rest is null then t.card end card,
case when t.rest is null then (select pds from repo where id = t.repo_id) end pds,
case when t.rest is null and strpos(t.card, '\u0000') = 0
     then (select array_agg(x.did order by x.n)
             from (select f.one ->> 'did' as did, min(f.n) as n
                     from json_array_elements(('{' || t.card || '}')::json -> 'record' -> 'features')
                          with ordinality f(one, n)
                    group by 1) x)
     else t.features end features

-- name: hydrate_rest
-- As below, for REST: all of them are one row, since each cell and each row that is read out costs. `tracks` are whole
-- JSON objects in order, of which line breaks tell where one ends, as there is none within; a and b are the keys of the
-- last but one, behind which the next page begins where the last is one too many. Where `unready` holds, labels of an
-- artist's own are to be put to ours, or a track is to be rendered. What a record says comes first, so that what
-- strangers wrote stands behind all that is looked for. It is unpacked once, by the addition of nothing; of where it
-- ends only bytes are looked at, as to count its characters would take longer than all the rest. Labels are put together
-- only where there are any.
-- A scan counts for what the track plays now; what nobody decided about yet is for its artist alone, and what has no
-- verdict by an error is clear.
select string_agg(x.track, E',\n') as tracks, count(*) as rows, bool_or(x.unready) as unready,
       (array_agg(x.a))[count(*)::int - 1]::text as a, (array_agg(x.b))[count(*)::int - 1]::text as b
  from (
      select concat('{"id":', k.id, ',',
                    coalesce(w.rest, concat('"card":{', k.card, '},"pds":', coalesce(to_json(k.pds)::text, 'null'))),
                    case when k.album is not null
                              and get_byte(convert_to(w.rest, 'UTF8'), octet_length(w.rest) - 1) = ascii(':')
                         then split_part(k.artist, ',"artist_avatar_url":', 2) || '}' end,
                    k.artist,
                    case when k.features is null then ',"features":[],"play_count":'
                         else ',"features":[' || ({people}) || '],"play_count":' end,
                    s.plays, ',"like_count":', s.likes, ',"comment_count":', s.comments,
                    case when {liked} then ',"is_liked":true,"tags":' else ',"is_liked":false,"tags":' end,
                    coalesce(to_json(s.tags)::text, '[]'),
                    case when k.unlisted
                         then ',"visibility":"unlisted","unlisted":true,"copyright_flagged":'
                         else ',"visibility":"public","unlisted":false,"copyright_flagged":' end,
                    coalesce(c.flagged::text, 'null'), ',"copyright_match":',
                    case when c.flagged then coalesce(to_json(c.match)::text, 'null') else 'null' end,
                    ',"operator_labels":', coalesce(w.labels, '[]'), ',"labels":', coalesce(w.labels, '[]'),
                    ',"gated":false,"download_policy":"open","is_optimizing":false}') as track,
             w.rest is null or strpos(w.rest, '"self_labels":["') > 0 as unready,
             k.a, k.b
        from ({skeleton}) k
        join track_stat s on s.id = k.id
        join track_uri u on u.id = k.id
        left join lateral (
            select c.is_flagged and (c.resolution = 'violation'
                                     or c.resolution = 'pending' and c.did is not distinct from $1::text) flagged,
                   c.dominant->>'title' || ' by ' || (c.dominant->>'artist') as match
              from track_media m
              join copyright_scan c on c.did = m.did and c.rkey = m.rkey and c.blob_id = m.stream_id
                                   and c.state <> 'off'
             where m.did = split_part(u.uri, '/', 3) and m.rkey = split_part(u.uri, '/', 5)) c on true
        cross join lateral (
            select k.rest || '' as rest, case when (select true from label where uri = u.uri limit 1) then (
                       select json_agg(distinct l.val)::text from label l
                        where l.uri = u.uri and not l.neg and (l.cid is null or l.cid = k.cid)
                          and (l.exp is null or l.exp::timestamptz > now())
                          and not exists (
                              select from label n
                               where n.uri = l.uri and n.val = l.val and n.src = l.src and n.seq > l.seq)) end as labels
            offset 0) w
       order by k.a desc, k.b desc) x

-- name: is_liked
-- Whether the viewer likes track k.
(select l.rkey from "like" l
  where l.repo_id = (select r.id from repo r where r.did = $1::text) and l.track_id = k.id
  limit 1) is not null

-- name: people
-- Those who are featured in track k, as far as they can be shown: a card's members by the names that REST has for them.
select string_agg(
           case when o.card is null
                then concat('{"did":', to_json(f.did), ',"handle":"handle.invalid","display_name":null,"avatar_url":null}')
                else concat('{', split_part(split_part(o.card, ',"displayName":', 1), ',"avatar":', 1), ',"display_name":',
                            coalesce(nullif(split_part(split_part(o.card, ',"displayName":', 2), ',"avatar":', 1), ''),
                                     'null'),
                            ',"avatar_url":', coalesce(nullif(split_part(o.card, ',"avatar":', 2), ''), 'null'), '}')
           end, ',' order by f.n)
  from unnest(k.features) with ordinality f(did, n)
  left join repo r on r.did = f.did
  left join profile o on o.repo_id = r.id and not o.hidden

-- name: hydrate
-- A skeleton's tracks ready to show, with what the viewer did to them. Below stand the skeletons.
select k.id, k.card, k.author, s.plays, s.likes, s.comments,
       (select min(l.rkey) from "like" l
         where l.repo_id = (select r.id from repo r where r.did = $1::text) and l.track_id = k.id),
       k.a, k.b, k.unlisted
  from ({skeleton}) k
  join track_stat s on s.id = k.id
 order by k.a desc, k.b desc

-- name: latest
-- Everybody's tracks by time.
select * from (
    select t.id, {track}, p.card author, t.sort_at a, t.id b
      from track t
      join profile p on p.repo_id = t.repo_id and not p.hidden
     where (t.sort_at, t.id) < ($2::timestamptz, $3::bigint) and not t.unlisted
     order by t.sort_at desc, t.id desc
     limit 101) page
 limit $4::int

-- name: top
-- Everybody's tracks that are played or liked, by plays, then likes; the index on track_stat gives the order, and
-- has both in one number.
select * from (
    select t.id, {track}, p.card author, (s.plays << 31) | s.likes a, s.id b
      from track_stat s
      join track t on t.id = s.id and not t.unlisted
      join profile p on p.repo_id = t.repo_id and not p.hidden
     where (s.plays > 0 or s.likes > 0) and ((s.plays << 31) | s.likes, s.id) < ($2::bigint, $3::bigint)
     order by (s.plays << 31) | s.likes desc, s.id desc
     limit 101) page
 limit $4::int

-- name: by_actor
-- One account's tracks by time; $5 is its repo. The account itself was found visible before.
select * from (
    select t.id, {track}, p.card author, t.sort_at a, t.id b
      from track t
      join profile p on p.repo_id = t.repo_id and not p.hidden
     where t.repo_id = $5::int and (t.sort_at, t.id) < ($2::timestamptz, $3::bigint)
     order by t.sort_at desc, t.id desc
     limit 101) page
 limit $4::int

-- name: liked_by
-- The tracks that an account ($5) likes, by time of the like. Of several likes of one track the first counts.
select * from (
    select t.id, {track}, p.card author, l.sort_at a, l.rkey b
      from "like" l
      join track t on t.id = l.track_id
      join profile p on p.repo_id = t.repo_id and not p.hidden
     where l.repo_id = $5::int and (l.sort_at, l.rkey) < ($2::timestamptz, $3::text)
       and not exists (select from "like" m
                        where m.repo_id = l.repo_id and m.track_id = l.track_id
                          and (m.sort_at, m.rkey) < (l.sort_at, l.rkey))
     order by l.sort_at desc, l.rkey desc
     limit 101) page
 limit $4::int

-- name: by_uris
-- The tracks at the URIs in $2, in their order.
select t.id, {track}, p.card author, -u.place a, 0 b
  from unnest($2::text[]) with ordinality u(uri, place)
  join track_uri n on n.uri = u.uri
  join track t on t.id = n.id
  join profile p on p.repo_id = t.repo_id and not p.hidden

-- name: by_id
-- The track of number $2.
select t.id, {track}, p.card author, 0 a, 0 b
  from track t
  join profile p on p.repo_id = t.repo_id and not p.hidden
 where t.id = $2::bigint

-- name: in_list
-- The tracks of list $5 by their place in it, after place $2.
select * from (
    select t.id, {track}, p.card author, -i.position a, 0 b
      from list_item i
      join track t on t.id = i.track_id
      join profile p on p.repo_id = t.repo_id and not p.hidden
     where i.list_id = $5::bigint and i.position > $2::int and $3::int is null
     order by i.position
     limit 101) page
 limit $4::int

-- name: search
-- Tracks whose words, or whose author's, answer the query $5, out of three kinds of candidates. Those that have all
-- of the rare words of $6 (null: there are none); those of authors who have any of the rare words $7, each of them
-- with what it brings; and, if $8, the newest, for words that are too common to be looked up. Each kind ends at a
-- constant, since only the rare words are counted on; rank is by the share of the text that the query covers, takes
-- 10 us a row, and is for the newest of those found. Cards are fetched for the page alone. Each "limit 1" keeps the
-- planner, which expects thousands of candidates, from reading all accounts to join one.
select t.id, {track}, p.card author, page.a, page.b
  from (select ts_rank(hit.search, to_tsquery('simple', $5::text), 2) a, hit.id b
          from (select t.id, t.search || p.search as search
                  from ((select id from track where search @@ to_tsquery('simple', $6::text) limit 3000)
                        union
                        (select of_names.id
                           from (select o.id
                                   from unnest($7::text[]) as name (word)
                                   cross join lateral (
                                       select repo_id from profile
                                        where search @@ to_tsquery('simple', name.word) and not hidden
                                        limit 200) author
                                   cross join lateral (
                                       select id from track
                                        where repo_id = author.repo_id
                                        order by sort_at desc, id desc
                                        limit 1000) o
                                  limit 10000) of_names
                          order by of_names.id desc
                          limit 2000)
                        union
                        (select newest.id
                           from (select id, repo_id, search from track
                                  where $8::boolean
                                  order by sort_at desc, id desc
                                  limit 5000) newest
                          where newest.search @@ to_tsquery('simple', $5::text)
                             or (select (newest.search || o.search) @@ to_tsquery('simple', $5::text)
                                   from profile o where o.repo_id = newest.repo_id)
                          limit 1000)) found
                  cross join lateral (
                      select id, repo_id, search from track where id = found.id and not unlisted limit 1) t
                  cross join lateral (
                      select search from profile where repo_id = t.repo_id and not hidden limit 1) p
                 where (t.search || p.search) @@ to_tsquery('simple', $5::text)
                 order by t.id desc
                 limit 2000) hit
         order by a desc, b desc) page
  join track t on t.id = page.b
  join profile p on p.repo_id = t.repo_id
 where (page.a, page.b) < ($2::real, $3::bigint)
 order by page.a desc, page.b desc
 limit $4::int

-- name: search_like
-- For queries that find nothing otherwise: titles and authors spelled like $5, among the newest tracks,
-- since no index helps and each takes 10 us. Needs pg_trgm.
select * from (
    select t.id, {track}, p.card author, t.id b,
           greatest(word_similarity($5::text, lower(t.title)),
                    word_similarity($5::text, lower(coalesce(p.display_name, '')))) a
      from (select * from track order by sort_at desc limit 5000) t
      join profile p on p.repo_id = t.repo_id and not p.hidden
     where not t.unlisted) hit
 where a >= 0.4 and (a, b) < ($2::real, $3::bigint)
 order by a desc, b desc
 limit $4::int

-- name: likes_of
-- Who likes track $1, latest first, each account by its first like.
select p.card, r.did, l.rkey, l.sort_at, l.repo_id from (
    select l.rkey, l.sort_at, l.repo_id
      from "like" l
      join profile p on p.repo_id = l.repo_id and not p.hidden
     where l.track_id = $1::bigint and (l.sort_at, l.repo_id) < ($2::timestamptz, $3::int)
       and not exists (select from "like" m
                        where m.repo_id = l.repo_id and m.track_id = l.track_id
                          and (m.sort_at, m.rkey) < (l.sort_at, l.rkey))
     order by l.sort_at desc, l.repo_id desc
     limit 101) l
  join profile p on p.repo_id = l.repo_id
  join repo r on r.id = l.repo_id
 order by l.sort_at desc, l.repo_id desc
 limit $4::int

-- name: comments_of
-- The comments on track $1 by the moment that they are about.
select c.card, p.card, c.timestamp_ms, c.repo_id, c.rkey from (
    select c.card, c.timestamp_ms, c.repo_id, c.rkey
      from comment c
      join profile p on p.repo_id = c.repo_id and not p.hidden
     where c.track_id = $1::bigint and (c.timestamp_ms, c.repo_id, c.rkey) > ($2::bigint, $3::int, $4::text)
     order by c.timestamp_ms, c.repo_id, c.rkey
     limit 101) c
  join profile p on p.repo_id = c.repo_id
 order by c.timestamp_ms, c.repo_id, c.rkey
 limit $5::int

-- name: track_id
-- The number of a track that can be shown.
select t.id
  from track_uri n
  join track t on t.id = n.id
  join profile p on p.repo_id = t.repo_id and not p.hidden
 where n.uri = $1::text
