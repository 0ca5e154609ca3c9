-- name: intern
-- The number of each URI, in one look at the index: nearly all of the tracks that people point at were
-- mentioned before, and a new track is not. One that somebody else is adding at this moment is missing.
with asked as materialized (
    select a.uri, u.id from json_array_elements_text(%(uris)s) as a (uri) left join track_uri u using (uri)
), added as (
    insert into track_uri (uri) select uri from asked where id is null on conflict do nothing returning id, uri
), counted as (
    insert into track_stat (id) select id from added
)
select uri, id, false from asked where id is not null
union all
select uri, id, true from added

-- name: put
-- A track is its newest valid version; an update replaces every column. With it go its rows by tag.
with put as (
    insert into track (
        id, repo_id, rkey, cid, sort_at, indexed_at, title, card, search, rest, features, album, album_id,
        file_id, unlisted)
    select n.id, n.repo_id, n.rkey, n.cid, n.sort_at, n.indexed_at, n.title, n.card, to_tsvector('simple', n.search),
           n.rest, n.features, n.album, n.album_id, n.file_id, n.unlisted
    from json_to_recordset(%(rows)s) as n
        (id bigint, repo_id int, rkey text, cid text, sort_at timestamptz, indexed_at timestamptz,
         title text, card text, search text, rest text, features text[], album text,
         album_id uuid, file_id text, unlisted boolean)
    on conflict (id) do update
    set repo_id = excluded.repo_id, rkey = excluded.rkey, cid = excluded.cid, sort_at = excluded.sort_at,
        indexed_at = excluded.indexed_at, title = excluded.title, card = excluded.card, search = excluded.search,
        rest = excluded.rest, features = excluded.features, album = excluded.album,
        album_id = excluded.album_id, file_id = excluded.file_id, unlisted = excluded.unlisted
    returning id, repo_id, sort_at, unlisted
), stale as (
    delete from track_tag n using put
    where n.track_id = put.id and (put.unlisted or n.sort_at <> put.sort_at)
)
insert into track_tag (tag, sort_at, track_id, repo_id)
select n.tag, put.sort_at, put.id, put.repo_id
from put join track_stat s on s.id = put.id cross join unnest(s.tags) as n (tag)
where not put.unlisted
on conflict do nothing

-- name: unrendered
-- Rows from before the columns of the REST interface, which nobody else is changing.
select t.id, t.card, r.did, r.pds from track t join repo r on r.id = t.repo_id
where t.rest is null order by t.id limit %(limit)s for update of t skip locked

-- name: render
-- What they look like there.
update track t set rest = n.rest, features = n.features, album = n.album, album_id = n.album_id,
    file_id = n.file_id
from json_to_recordset(%(rows)s) as n 
    (id bigint, rest text, features text[], album text, album_id uuid, file_id text)
where t.id = n.id

-- name: tag
-- What its artist files a track under from now on.
with stat as (
    update track_stat s set tags = nullif(%(tags)s::text[], '{}')
    from track_uri u where u.uri = %(uri)s and s.id = u.id
    returning s.id, s.tags
), stale as (
    delete from track_tag n using stat where n.track_id = stat.id and n.tag <> all(coalesce(stat.tags, '{}'))
)
insert into track_tag (tag, sort_at, track_id, repo_id)
select n.tag, t.sort_at, t.id, t.repo_id
from stat join track t on t.id = stat.id cross join unnest(stat.tags) as n (tag)
where not t.unlisted
on conflict do nothing

-- name: remove
-- Out of sight; its number stays, since others' likes still point there.
with tags as (delete from track_tag where track_id = any(%(ids)s))
delete from track where id = any(%(ids)s)

-- name: unlist
-- Out of every listing, or back in.
with changed as (
    update track set unlisted = %(unlisted)s where repo_id = %(repo_id)s and rkey = %(rkey)s
    returning id, repo_id, sort_at, unlisted
), stale as (
    delete from track_tag n using changed where n.track_id = changed.id and changed.unlisted
)
insert into track_tag (tag, sort_at, track_id, repo_id)
select n.tag, changed.sort_at, changed.id, changed.repo_id
from changed join track_stat s on s.id = changed.id cross join unnest(s.tags) as n (tag)
where not changed.unlisted
on conflict do nothing

-- name: count
-- Counters follow changed rows only.
update track_stat s
set likes = s.likes + n.likes, comments = s.comments + n.comments
from json_to_recordset(%(rows)s) as n (id bigint, likes int, comments int)
where s.id = n.id

-- name: count_account
-- An account was hidden or shown: everything that it liked and commented counts one less or more.
update track_stat s
set likes = s.likes + n.likes * %(sign)s, comments = s.comments + n.comments * %(sign)s
from (
    select track_id, sum(likes)::int as likes, sum(comments)::int as comments
    from (
        select distinct track_id, 1 as likes, 0 as comments from "like" where repo_id = %(repo_id)s
        union all
        select track_id, 0, 1 from comment where repo_id = %(repo_id)s
    ) one_account
    group by track_id
) n
where s.id = n.track_id
