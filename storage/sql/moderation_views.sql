-- name: summary
-- How many cases are open, and of the others, what people made of them.
select coalesce(resolution, 'open'), count(*) from moderation_case group by 1

-- name: queue
-- Open cases, those that wait longest first, after case %(after)s, decided or not.
select c.id from moderation_case c left join moderation_case a on a.id = %(after)s
where c.state = 'open' and (a.id is null or (c.opened_at, c.id) > (a.opened_at, a.id))
order by c.opened_at, c.id limit %(limit)s

-- name: decided
-- Cases that are decided, the newest first, before %(before)s.
select id from moderation_case
where state = 'resolved' and (%(before)s::bigint is null or id < %(before)s)
order by id desc limit %(limit)s

-- name: others
-- Other cases of the same account, the newest first.
select id from moderation_case where did = %(did)s and id <> %(id)s order by id desc limit 20

-- name: views
-- Cases with what they are about: a track, a record as it was signed, and what the newest scan takes it for.
select c.id, c.subject, c.did, c.opened_by, c.state, c.reason, c.resolution, c.opened_at, c.resolved_at, c.resolved_by,
       r.handle, t.id as track_id, k.block, k.unlisted is not null as unlisted, s.dominant, s.dominant_share,
       (select count(*) from moderation_case o
         where o.did = c.did and o.id <> c.id and o.resolution = 'violation') as violations
from moderation_case c
left join repo r on r.did = c.did
left join record k on c.subject like 'at://%%' and k.repo_id = r.id
                  and k.collection = split_part(c.subject, '/', 4) and k.rkey = split_part(c.subject, '/', 5)
left join track t on split_part(c.subject, '/', 4) = %(track)s and t.repo_id = r.id
                 and t.rkey = split_part(c.subject, '/', 5)
left join lateral (
    select f.dominant, f.dominant_share from copyright_scan f
    where f.did = c.did and f.rkey = split_part(c.subject, '/', 5) and f.is_flagged
    order by f.id desc limit 1) s on split_part(c.subject, '/', 4) = %(track)s
where c.id = any(%(ids)s)

-- name: bytes
-- What we have bytes as that cases are about, and the title of a track of their account that plays or shows them.
select distinct on (k.id) k.id, b.area, t.title
from json_to_recordset(%(bytes)s) as k (id bigint, did text, sha256 text)
join blob b on b.sha256 = decode(k.sha256, 'hex') and b.area in ('audio', 'image') and b.state = 'published'
left join repo r on r.did = k.did
left join track_media m on m.did = k.did and (m.stream_id = b.id or m.cover_id = b.id)
left join track t on t.repo_id = r.id and t.rkey = m.rkey
order by k.id, t.id desc nulls last, b.area

-- name: flag
-- What the sound of a track was last taken for, and whether it is what the track plays now.
select s.id, encode(s.sha256, 'hex') as sha256, s.matches, s.dominant, s.dominant_share, s.scanned_at,
       m.stream_id is not null and m.stream_id = s.blob_id as is_current
from copyright_scan s
left join track_media m on m.did = s.did and m.rkey = s.rkey
where s.did = %(did)s and s.rkey = %(rkey)s and s.is_flagged
order by s.id desc limit 1

-- name: tracks
-- Ids of those of these tracks that are in the tables.
select r.did, t.rkey, t.id
from json_to_recordset(%(tracks)s) as k (did text, rkey text)
join repo r on r.did = k.did
join track t on t.repo_id = r.id and t.rkey = k.rkey

-- name: shown
-- Hashes of what a track plays and shows, whether it is in sight or not.
select encode(s.sha256, 'hex') as sha256, encode(c.sha256, 'hex') as cover
from track_media m
left join blob s on s.id = m.stream_id and s.state = 'published'
left join blob c on c.id = m.cover_id and c.state = 'published'
where m.did = %(did)s and m.rkey = %(rkey)s

-- name: shown_bytes
-- The same of bytes alone, whoever shows them.
select case area when 'audio' then encode(sha256, 'hex') end as sha256,
       case area when 'image' then encode(sha256, 'hex') end as cover
from blob where area in ('audio', 'image') and sha256 = decode(%(sha256)s, 'hex') and state = 'published'
order by area limit 1

-- name: history
-- What happened to a subject, the oldest first; of very much, the newest.
select * from (
    select e.id, e.at, e.case_id, e.action, e.actor, e.proof, e.reason,
           e.detail->>'resolution' as resolution, e.note, r.handle as actor_handle
    from moderation_event e
    left join repo r on r.did = e.actor
    where e.subject = %(subject)s
    order by e.id desc limit 500) newest
order by id

-- name: following
-- The open case after this one, in the order of the queue; behind the last, the first.
select o.id from moderation_case c, moderation_case o
where c.id = %(id)s and o.state = 'open' and o.id <> c.id
order by (o.opened_at, o.id) < (c.opened_at, c.id), o.opened_at, o.id limit 1
