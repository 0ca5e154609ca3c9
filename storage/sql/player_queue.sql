-- Statements of table `queue`; those with numbered parameters are for storage/reader.py.

-- name: of
-- The queue of account $1, if it has one, and whether its player goes on by itself, behind its tracks, as far as
-- the sounds can be read out of the text without parsing it. What was read so, the caller has to judge.
with own as materialized (
    select q.state, q.revision, (p.chosen -> 'auto_advance')::boolean as auto,
           string_to_array(split_part(split_part(q.state, '"track_ids":["', 2), '"]', 1), '","') as file_ids
      from (values ($1::text)) k (did)
      left join queue q on q.did = k.did
      left join preference p on p.did = k.did
)
select f.*, o.state, o.revision, o.auto from own o cross join ({tracks}) f

-- name: put
-- A new state in place of one whose revision is among those expected, or of any where none is: of many at once who
-- expect the same, the first is written and the others find it changed. No row comes back from those, nor of who asked
-- to be forgotten since they were let in. A queue that was never written has revision 0.
insert into queue as q (did, state, revision)
select %(did)s, %(state)s, 1
 where (%(expected)s::bigint[] is null or 0 = any (%(expected)s::bigint[])
        or exists (select from queue where did = %(did)s))
   and not exists (select from account_deletion where did = %(did)s and finished_at is null)
   and not exists (select from forgotten where did_hash = sha256(convert_to(%(did)s, 'UTF8')))
on conflict (did) do update
set state = excluded.state, revision = q.revision + 1, updated_at = now()
where %(expected)s::bigint[] is null or q.revision = any (%(expected)s::bigint[])
returning revision, (select (chosen -> 'auto_advance')::boolean from preference where did = %(did)s)

-- name: erase
-- Of an account that is deleted.
delete from queue where did = %(did)s

-- name: tracks
-- A skeleton for storage/feed.py: of each of {file_ids} the first track that can be shown, by its place there.
select * from (
    select t.*, -u.place a, 0 b
      from unnest({file_ids}) with ordinality u(file_id, place)
      cross join lateral (
          select t.id, {track}, p.card author
            from track t
            join profile p on p.repo_id = t.repo_id and not p.hidden
           where t.file_id = u.file_id
           order by t.id
           limit 1) t) found
