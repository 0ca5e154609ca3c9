-- name: next
-- Liked tracks to ask about: those that were never asked about, in any order, so that some that nobody answers for
-- keep no others away; then those that were longest ago.
select x.id, x.uri
from track_stat s join track_uri x on x.id = s.id left join link_check c on c.track_id = s.id
where s.likes > 0
order by c.checked_at nulls first, random() limit %(limit)s

-- name: note
-- Ours as it is now, as theirs is of a moment ago.
insert into link_check (track_id, ours, theirs)
select id, likes, %(theirs)s from track_stat where id = %(track_id)s
on conflict (track_id) do update set ours = excluded.ours, theirs = excluded.theirs, checked_at = now()
returning ours

-- name: tidy
-- Tracks that nobody likes any more are not asked about again.
delete from link_check c
where not exists (select from track_stat s where s.id = c.track_id and s.likes > 0)
