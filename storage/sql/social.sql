-- name: likes_of
-- Which likes an account holds of a track. Usually none or one, but two are legal, and count once.
select l.repo_id, l.track_id, l.rkey
from json_to_recordset(%(pairs)s) as k (repo_id int, track_id bigint)
join "like" l using (repo_id, track_id)

-- name: add_likes
-- A like never changes: replacing one is removing the old, which was done before, and adding the new.
insert into "like" (repo_id, track_id, rkey, sort_at)
select n.repo_id, n.track_id, n.rkey, n.sort_at
from json_to_recordset(%(rows)s) as n (repo_id int, track_id bigint, rkey text, sort_at timestamptz)

-- name: remove_likes
-- By whole primary key.
delete from "like" l
using json_to_recordset(%(keys)s) as k (repo_id int, track_id bigint, rkey text)
where l.repo_id = k.repo_id and l.track_id = k.track_id and l.rkey = k.rkey

-- name: put_comments
-- An edit replaces the text in place, keeps the number, and may move the comment to another track.
insert into comment (repo_id, rkey, track_id, timestamp_ms, sort_at, card)
select n.repo_id, n.rkey, n.track_id, n.timestamp_ms, n.sort_at, n.card
from json_to_recordset(%(rows)s) as n
    (repo_id int, rkey text, track_id bigint, timestamp_ms bigint, sort_at timestamptz, card text)
on conflict (repo_id, rkey) do update
set track_id = excluded.track_id, timestamp_ms = excluded.timestamp_ms,
    sort_at = excluded.sort_at, card = excluded.card

-- name: seat_comment
-- A comment that is restored has the number that it had; what it says is put there next.
insert into comment (id, repo_id, rkey, track_id, timestamp_ms, sort_at, card) overriding system value
select number, repo_id, rkey, 0, 0, now(), '' from record
where (repo_id, collection, rkey) = (%(repo_id)s, %(collection)s, %(rkey)s) and number is not null
on conflict do nothing

-- name: remove_comments
-- By whole primary key.
delete from comment c
using json_to_recordset(%(keys)s) as k (repo_id int, rkey text)
where c.repo_id = k.repo_id and c.rkey = k.rkey

-- name: put_lists
-- The id stays for life: REST shows it.
insert into list (repo_id, rkey, list_type, name, album_id, items, sort_at, card)
select n.repo_id, n.rkey, n.list_type, n.name, n.album_id, n.items, n.sort_at, n.card
from json_to_recordset(%(rows)s) as n
    (repo_id int, rkey text, list_type text, name text, album_id uuid, items int, sort_at timestamptz, card text)
on conflict (repo_id, rkey) do update
set list_type = excluded.list_type, name = excluded.name, album_id = excluded.album_id, items = excluded.items,
    sort_at = excluded.sort_at, card = excluded.card
returning id, repo_id, rkey, xmax = 0 as added

-- name: seat_list
-- Likewise of a list.
insert into list (id, repo_id, rkey, items, sort_at, card) overriding system value
select number, repo_id, rkey, 0, now(), '' from record
where (repo_id, collection, rkey) = (%(repo_id)s, %(collection)s, %(rkey)s) and number is not null
on conflict do nothing

-- name: clear_lists
-- A new version brings all of its items again.
delete from list_item where list_id = any(%(ids)s)

-- name: add_list_items
-- Position is that of the record, so a list keeps its order around items that are not tracks.
insert into list_item (list_id, position, track_id)
select n.list_id, n.position, n.track_id
from json_to_recordset(%(rows)s) as n (list_id bigint, position int, track_id bigint)

-- name: unnamed_albums
-- Albums from before they had ids, which nobody else is changing.
select l.id, r.did, l.name from list l join repo r on r.id = l.repo_id
where l.album_id is null and l.list_type = 'album' and l.name <> ''
order by l.id limit %(limit)s for update of l skip locked

-- name: name_albums
-- Those that they have now.
update list l set album_id = n.album_id from json_to_recordset(%(rows)s) as n (id bigint, album_id uuid)
where l.id = n.id

-- name: remove_lists
-- Items go with their list.
delete from list l
using json_to_recordset(%(keys)s) as k (repo_id int, rkey text)
where l.repo_id = k.repo_id and l.rkey = k.rkey

-- name: put_profiles
-- `hidden` is not this statement's business: visibility follows the account, not its looks.
update profile p
set display_name = n.display_name, avatar = n.avatar, bio = n.bio, created_at = n.created_at,
    card = n.card, search = to_tsvector('simple', n.search)
from json_to_recordset(%(rows)s) as n
    (repo_id int, display_name text, avatar text, bio text, created_at timestamptz, card text, search text)
where p.repo_id = n.repo_id
