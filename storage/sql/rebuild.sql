-- name: freeze
-- Writers of records and tags wait until the rebuild is over; readers don't notice.
lock table record, repo, track_tag in share row exclusive mode

-- name: shadow_track
-- Temporary tables of the same names hide the real ones from the statements that fill them.
create temporary table track (like public.track including indexes) on commit drop

-- name: shadow_track_tag
-- As above.
create temporary table track_tag (like public.track_tag including indexes) on commit drop

-- name: shadow_like
-- As above.
create temporary table "like" (like public."like" including indexes) on commit drop

-- name: shadow_comment
-- Ids here are of no account: comments are compared by what names them.
create temporary table comment (like public.comment including indexes including identity) on commit drop

-- name: shadow_list
-- As above.
create temporary table list (like public.list including indexes including identity) on commit drop

-- name: shadow_list_item
-- As above.
create temporary table list_item (like public.list_item including indexes) on commit drop

-- name: shadow_profile
-- A row for each account, with the visibility that its status gives it.
create temporary table profile (like public.profile including indexes including generated) on commit drop

-- name: start_profile
-- The looks are put in later, by the statement that always does it.
insert into pg_temp.profile (repo_id, hidden, card, search) select id, not active or taken_down is not null, '', ''::tsvector from repo

-- name: recount
-- Counters from nothing but the rebuilt tables.
create temporary table stat on commit drop as
select s.id, coalesce(l.likes, 0) as likes, coalesce(c.comments, 0) as comments
from track_stat s
left join (
    select track_id, count(distinct repo_id)::int as likes
    from pg_temp."like" join pg_temp.profile using (repo_id) where not hidden group by track_id
) l on l.track_id = s.id
left join (
    select track_id, count(*)::int as comments
    from pg_temp.comment join pg_temp.profile using (repo_id) where not hidden group by track_id
) c on c.track_id = s.id

-- name: differ_track
-- Keys whose rows differ, and how.
select r.did || '/' || coalesce(old.rkey, new.rkey), old.id is null, new.id is null
from public.track old full join pg_temp.track new on new.id = old.id
join repo r on r.id = coalesce(old.repo_id, new.repo_id)
where old.* is distinct from new.*

-- name: differ_track_tag
-- Tags are in no record: these are rows of tags that are there, of tracks as they are made anew.
select coalesce(old.tag, new.tag) || ' of ' || u.uri, old.tag is null, new.tag is null
from public.track_tag old
full join pg_temp.track_tag new on (new.tag, new.sort_at, new.track_id) = (old.tag, old.sort_at, old.track_id)
join track_uri u on u.id = coalesce(old.track_id, new.track_id)
where old.* is distinct from new.*

-- name: differ_like
-- As above.
select r.did || '/' || coalesce(old.rkey, new.rkey), old.repo_id is null, new.repo_id is null
from public."like" old
full join pg_temp."like" new on (new.repo_id, new.track_id, new.rkey) = (old.repo_id, old.track_id, old.rkey)
join repo r on r.id = coalesce(old.repo_id, new.repo_id)
where old.* is distinct from new.*

-- name: differ_comment
-- As above.
select r.did || '/' || coalesce(old.rkey, new.rkey), old.repo_id is null, new.repo_id is null
from public.comment old full join pg_temp.comment new on (new.repo_id, new.rkey) = (old.repo_id, old.rkey)
join repo r on r.id = coalesce(old.repo_id, new.repo_id)
where (old.track_id, old.timestamp_ms, old.sort_at, old.card)
    is distinct from (new.track_id, new.timestamp_ms, new.sort_at, new.card)

-- name: differ_list
-- A list differs, too, when its items do.
select r.did || '/' || coalesce(old.rkey, new.rkey), old.repo_id is null, new.repo_id is null
from (select l.repo_id, l.rkey, l.list_type, l.name, l.album_id, l.items, l.sort_at, l.card,
             (select array_agg((i.position, i.track_id)::text order by i.position)
              from public.list_item i where i.list_id = l.id) as tracks
      from public.list l) old
full join (select l.repo_id, l.rkey, l.list_type, l.name, l.album_id, l.items, l.sort_at, l.card,
                  (select array_agg((i.position, i.track_id)::text order by i.position)
                   from pg_temp.list_item i where i.list_id = l.id) as tracks
           from pg_temp.list l) new on (new.repo_id, new.rkey) = (old.repo_id, old.rkey)
join repo r on r.id = coalesce(old.repo_id, new.repo_id)
where old.* is distinct from new.*

-- name: differ_profile
-- As above.
select r.did, old.repo_id is null, new.repo_id is null
from public.profile old full join pg_temp.profile new on new.repo_id = old.repo_id
join repo r on r.id = coalesce(old.repo_id, new.repo_id)
where old.* is distinct from new.*

-- name: differ_track_stat
-- Plays have no record behind them and are left alone.
select u.uri, false, false
from track_stat old join pg_temp.stat new on new.id = old.id join track_uri u on u.id = old.id
where (old.likes, old.comments) is distinct from (new.likes, new.comments)

-- name: replace_track
-- Only rows that differ are written.
delete from public.track old
where not exists (select from pg_temp.track new where new.id = old.id and new.* is not distinct from old.*)

-- name: fill_track
-- What is missing now is what was missing or wrong.
insert into public.track select * from pg_temp.track new
where not exists (select from public.track old where old.id = new.id)

-- name: replace_track_tag
-- As for tracks.
delete from public.track_tag old
where not exists (
    select from pg_temp.track_tag new
    where (new.tag, new.sort_at, new.track_id) = (old.tag, old.sort_at, old.track_id)
      and new.* is not distinct from old.*)

-- name: fill_track_tag
-- As for tracks.
insert into public.track_tag select * from pg_temp.track_tag new
where not exists (
    select from public.track_tag old
    where (new.tag, new.sort_at, new.track_id) = (old.tag, old.sort_at, old.track_id))

-- name: replace_like
-- As for tracks.
delete from public."like" old
where not exists (
    select from pg_temp."like" new
    where (new.repo_id, new.track_id, new.rkey) = (old.repo_id, old.track_id, old.rkey)
      and new.* is not distinct from old.*)

-- name: fill_like
-- As for tracks.
insert into public."like" select * from pg_temp."like" new
where not exists (
    select from public."like" old
    where (new.repo_id, new.track_id, new.rkey) = (old.repo_id, old.track_id, old.rkey))

-- name: replace_comment
-- Comments keep their id, which REST shows, so they are updated in place.
delete from public.comment old
where not exists (select from pg_temp.comment new where (new.repo_id, new.rkey) = (old.repo_id, old.rkey))

-- name: fill_comment
-- As above, those that differ.
insert into public.comment (repo_id, rkey, track_id, timestamp_ms, sort_at, card)
select n.repo_id, n.rkey, n.track_id, n.timestamp_ms, n.sort_at, n.card
from pg_temp.comment n left join public.comment old using (repo_id, rkey)
where (old.track_id, old.timestamp_ms, old.sort_at, old.card)
    is distinct from (n.track_id, n.timestamp_ms, n.sort_at, n.card)
on conflict (repo_id, rkey) do update
set track_id = excluded.track_id, timestamp_ms = excluded.timestamp_ms,
    sort_at = excluded.sort_at, card = excluded.card

-- name: replace_list
-- As for comments.
delete from public.list old
where not exists (select from pg_temp.list new where (new.repo_id, new.rkey) = (old.repo_id, old.rkey))

-- name: fill_list
-- As above.
insert into public.list (repo_id, rkey, list_type, name, album_id, items, sort_at, card)
select repo_id, rkey, list_type, name, album_id, items, sort_at, card from pg_temp.list
on conflict (repo_id, rkey) do update
set list_type = excluded.list_type, name = excluded.name, album_id = excluded.album_id, items = excluded.items,
    sort_at = excluded.sort_at, card = excluded.card

-- name: replace_list_item
-- Items have no life of their own.
delete from public.list_item

-- name: fill_list_item
-- As above.
insert into public.list_item (list_id, position, track_id)
select old.id, i.position, i.track_id
from pg_temp.list_item i
join pg_temp.list new on new.id = i.list_id
join public.list old on (new.repo_id, new.rkey) = (old.repo_id, old.rkey)

-- name: replace_profile
-- As for tracks.
delete from public.profile old
where not exists (
    select from pg_temp.profile new where new.repo_id = old.repo_id and new.* is not distinct from old.*)

-- name: fill_profile
-- As for tracks.
insert into public.profile (repo_id, hidden, display_name, avatar, bio, created_at, card, search)
select repo_id, hidden, display_name, avatar, bio, created_at, card, search from pg_temp.profile new
where not exists (select from public.profile old where old.repo_id = new.repo_id)

-- name: replace_track_stat
-- Only counters that differ are written.
update track_stat old set likes = new.likes, comments = new.comments
from pg_temp.stat new
where new.id = old.id and (old.likes, old.comments) is distinct from (new.likes, new.comments)
