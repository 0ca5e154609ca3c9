-- Statements of table `now_playing`; those with numbered parameters are for storage/reader.py.

-- name: of
-- Whether there is an account of this DID or handle that can be shown, and what its player said, as long as that
-- holds; and whether the number that it said is a track's, gone ones included.
select n.track_id, n.file_id, n.told, n.duration_ms, n.progress_ms,
       exists (select from track_uri u where u.id = n.track_id)
  from repo r
  join profile p on p.repo_id = r.id and not p.hidden
  left join now_playing n on n.did = r.did and n.is_playing and n.until > now()
 where r.did = $1::text or r.handle = $1::text

-- name: put
-- Only the newest word counts.
insert into now_playing (did, track_id, file_id, told, duration_ms, progress_ms, is_playing, until)
values (%(did)s, %(track_id)s, %(file_id)s, %(told)s, %(duration_ms)s, %(progress_ms)s, true,
        now() + make_interval(secs => %(ttl_s)s))
on conflict (did) do update
set track_id = excluded.track_id, file_id = excluded.file_id, told = excluded.told,
    duration_ms = excluded.duration_ms, progress_ms = excluded.progress_ms, is_playing = true,
    until = excluded.until

-- name: erase
-- Nothing is playing any more, or the account is deleted.
delete from now_playing where did = %(did)s

-- name: forget
-- What nobody can see any more: a player that went away without a word.
delete from now_playing where until < now()
