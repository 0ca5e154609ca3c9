-- name: unscanned
-- Tracks in sight about whose sound somebody can be asked who was not: never asked about first, then those that are due
-- longest. Those aside that are flagged already, and that a job of this kind is about.
select m.did, m.rkey, b.id as blob_id, encode(b.sha256, 'hex') as sha256, s.duration_s,
       coalesce(c.attempts, 0) as attempts
from track_media m
join repo r on r.did = m.did
join profile p on p.repo_id = r.id and not p.hidden
join track t on t.repo_id = r.id and t.rkey = m.rkey
join blob b on b.id = m.stream_id and b.state = 'published'
join sound s on s.blob_id = b.id
left join copyright_scan c on c.did = m.did and c.rkey = m.rkey and c.sha256 = b.sha256
where m.published_at is not null
  and (c.state is distinct from 'error' or c.due <= now() or %(undue)s)
  and not coalesce(c.is_flagged, false)
  and (%(audd)s and not 'audd' = any(coalesce(c.asked, '{}'))
       or s.fingerprint is not null and not 'plyr' = any(coalesce(c.asked, '{}')))
  and (%(max_s)s::float8 is null or s.duration_s <= %(max_s)s)
  and not exists (select from job j where j.kind = %(kind)s and j.subject = m.did || '/' || m.rkey
                                      and j.finished_at is null)
order by c.due nulls first, m.published_at limit %(limit)s

-- name: playing
-- What one track in sight plays now.
select m.did, m.rkey, b.id as blob_id, encode(b.sha256, 'hex') as sha256, s.duration_s,
       coalesce(c.attempts, 0) as attempts
from track_media m
join repo r on r.did = m.did
join profile p on p.repo_id = r.id and not p.hidden
join track t on t.repo_id = r.id and t.rkey = m.rkey
join blob b on b.id = m.stream_id and b.state = 'published'
join sound s on s.blob_id = b.id
left join copyright_scan c on c.did = m.did and c.rkey = m.rkey and c.sha256 = b.sha256
where m.did = %(did)s and m.rkey = %(rkey)s and m.published_at is not null

-- name: get
-- What is known of a track and these bytes.
select id, did, rkey, encode(sha256, 'hex') as sha256, blob_id, state, matches, dominant, dominant_share, asked, raw,
       is_flagged, resolution, reviewed_at, reviewed_by, review_notes, error, error_kind, attempts, due, scanned_at
from copyright_scan
where did = %(did)s and rkey = %(rkey)s and sha256 = decode(%(sha256)s, 'hex')

-- name: answered
-- The newest verdict of AuDD about these bytes, whoever's they were.
select matches, dominant, dominant_share, raw from copyright_scan
where sha256 = decode(%(sha256)s, 'hex') and state = 'ok' and 'audd' = any(asked) order by id desc limit 1

-- name: fingerprint
-- What our own scanner compares; null: it was not analysed.
select fingerprint from sound where blob_id = %(blob_id)s

-- name: named
-- What a person calls these tracks. One that is out of sight is called by its rkey, an account by its DID.
select w.did, w.rkey, coalesce(p.display_name, r.handle, w.did), coalesce(t.title, w.rkey)
from unnest(%(dids)s::text[], %(rkeys)s::text[]) w (did, rkey)
left join repo r on r.did = w.did
left join profile p on p.repo_id = r.id
left join track t on t.repo_id = r.id and t.rkey = w.rkey

-- name: settle
-- A verdict. One that is there stays, with what a person made of it, unless it is clear and somebody was asked who was
-- not before; and who was forgotten meanwhile stays so: otherwise no row comes back.
insert into copyright_scan (did, rkey, sha256, blob_id, state, matches, dominant, dominant_share, asked, raw, is_flagged,
                            resolution, scanned_at)
select r.did, %(rkey)s, decode(%(sha256)s, 'hex'), (select id from blob where id = %(blob_id)s), 'ok',
       %(matches)s, %(dominant)s, %(dominant_share)s, %(asked)s, %(raw)s, %(is_flagged)s,
       case when %(is_flagged)s then 'pending' end, now()
from repo r where r.did = %(did)s for key share
on conflict (did, rkey, sha256) do update
set state = 'ok', matches = excluded.matches, dominant = excluded.dominant, dominant_share = excluded.dominant_share,
    asked = copyright_scan.asked || excluded.asked,
    raw = case when copyright_scan.state = 'ok' then coalesce(excluded.raw, copyright_scan.raw) else excluded.raw end,
    is_flagged = excluded.is_flagged, resolution = excluded.resolution, scanned_at = excluded.scanned_at,
    blob_id = excluded.blob_id, attempts = 0, due = null, error = null, error_kind = null, updated_at = now()
where not copyright_scan.is_flagged and not copyright_scan.asked @> excluded.asked
returning id

-- name: fail
-- AuDD says nothing yet. What is flagged stays, and what it has answered.
insert into copyright_scan (did, rkey, sha256, blob_id, state, error, error_kind, attempts, due, raw)
select r.did, %(rkey)s, decode(%(sha256)s, 'hex'), (select id from blob where id = %(blob_id)s), 'error',
       %(error)s, %(error_kind)s, 1, now() + make_interval(secs => %(wait_s)s::float8), %(raw)s
from repo r where r.did = %(did)s for key share
on conflict (did, rkey, sha256) do update
set state = 'error', error = excluded.error, error_kind = excluded.error_kind, raw = excluded.raw,
    attempts = copyright_scan.attempts + 1, due = excluded.due, scanned_at = null, asked = '{}', updated_at = now()
where not copyright_scan.is_flagged and not 'audd' = any(copyright_scan.asked)

-- name: leave
-- There is nobody to ask. A verdict stays.
insert into copyright_scan (did, rkey, sha256, blob_id, state)
select r.did, %(rkey)s, decode(%(sha256)s, 'hex'), (select id from blob where id = %(blob_id)s), 'off'
from repo r where r.did = %(did)s for key share
on conflict (did, rkey, sha256) do update
set state = 'off', error = null, error_kind = null, due = null, raw = null, updated_at = now()
where copyright_scan.state = 'error'

-- name: review
-- What a person made of them: also another thing than before.
update copyright_scan
set resolution = %(resolution)s, reviewed_at = now(), reviewed_by = %(by)s, review_notes = %(notes)s, updated_at = now()
where id = any(%(ids)s) and is_flagged

-- name: refused_until
-- Whoever is asked answers no more for now: until when, by the newest that was said.
select c.due from copyright_scan c
where c.state = 'error' and c.error_kind in ('quota', 'token') and c.due > now()
  and not exists (select from copyright_scan o where o.scanned_at > c.updated_at)
order by c.due desc limit 1

-- name: counts
-- How many of each state, and of what is flagged, of each resolution.
select coalesce(resolution, state), count(*) from copyright_scan group by 1
