-- Those with numbered parameters are for storage/reader.py: artist, shown, comment_at.

-- name: subject
-- What a track is to whoever likes it or says something about it: also one that is gone, by what we hold of it.
select u.uri, case when not p.hidden then t.cid end, case when not p.hidden then r.did end,
       t.id is null and exists (
           select from track_media m
           where m.did = split_part(u.uri, '/', 3) and m.rkey = split_part(u.uri, '/', 5) and m.published_at is not null)
from track_uri u
left join track t on t.id = u.id
left join repo r on r.id = t.repo_id
left join profile p on p.repo_id = t.repo_id
where u.id = %(id)s

-- name: likes
-- Under which keys somebody likes a track. Usually none or one.
select l.rkey from "like" l join repo r on r.id = l.repo_id
where r.did = %(did)s and l.track_id = %(track_id)s order by l.rkey

-- name: author
-- Who wrote a comment, and under which key.
select r.did, c.rkey from comment c join repo r on r.id = c.repo_id where c.id = %(id)s

-- name: lock
-- One after another is let onto a track.
select pg_advisory_xact_lock(hashtextextended('comments of ' || %(track_id)s::bigint, 0))

-- name: expire
-- Whoever had these places died, or came to an end without giving them back.
delete from comment_claim where track_id = %(track_id)s and held_until <= now()

-- name: claim
-- A place on the track, if there is one beside the comments that can be seen and those on their way.
insert into comment_claim (did, rkey, track_id, held_until)
select %(did)s, %(rkey)s, s.id, now() + make_interval(secs => %(lease_s)s)
from track_stat s
where s.id = %(track_id)s
  and s.comments + (select count(*) from comment_claim c where c.track_id = s.id) < %(most)s
returning rkey

-- name: give_back
-- It is taken by the comment itself now, or free again.
delete from comment_claim where did = %(did)s and rkey = %(rkey)s

-- name: tidy
-- Of tracks on which nobody has written since.
delete from comment_claim where held_until <= now()

-- name: erase
-- Who leaves has nothing on its way.
delete from comment_claim where did = %(did)s

-- name: artist
-- Whose track ($1) this is, if it can be seen, and how many comments on it can.
select r.did, s.comments
  from track t
  join repo r on r.id = t.repo_id
  join profile p on p.repo_id = t.repo_id and not p.hidden
  join track_stat s on s.id = t.id
 where t.id = $1::bigint

-- name: shown
-- The comments on track $1 in the order of their moments, at most $2.
select c.id, c.card, p.card
  from comment c
  join profile p on p.repo_id = c.repo_id and not p.hidden
 where c.track_id = $1::bigint
 order by c.timestamp_ms, c.repo_id, c.rkey
 limit $2::int

-- name: comment_at
-- The comment of account $1 under key $2.
select c.id, c.card, p.card
  from repo r
  join comment c on c.repo_id = r.id
  join profile p on p.repo_id = r.id
 where r.did = $1::text and c.rkey = $2::text
