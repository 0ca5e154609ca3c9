-- name: lock
-- Whoever judges a subject has it to themselves until the commit, also where there is no case yet.
select pg_advisory_xact_lock(hashtextextended('moderation of ' || %(subject)s, 0))

-- name: standing
-- Why it is down, and why listed nowhere: an account (no collection), or one record of it. No row: not known here.
select case when %(collection)s::text is null then r.taken_down else c.taken_down end, c.unlisted
from repo r
left join record c on c.repo_id = r.id and c.collection = %(collection)s and c.rkey = %(rkey)s
where r.did = %(did)s and (%(collection)s::text is null or c.repo_id is not null)

-- name: standing_of_bytes
-- Likewise of bytes of an account: something of it that we have is these bytes, or names them.
select r.withheld ->> %(sha256)s::text
from repo r
where r.did = %(did)s
  and (r.withheld ? %(sha256)s::text
       or exists (select from blob b join blob_owner o on o.blob_id = b.id and o.kind in ('track', 'list')
                  where b.area in ('audio', 'image', 'private') and b.sha256 = decode(%(sha256)s, 'hex')
                    and split_part(o.owner, '/', 1) = r.did)
       or exists (select from track t where t.repo_id = r.id
                  and (strpos(t.card, %(sha256)s) > 0 or strpos(t.card, %(cid)s) > 0))
       or exists (select from profile p where p.repo_id = r.id
                  and (strpos(p.card, %(sha256)s) > 0 or strpos(p.card, %(cid)s) > 0)))

-- name: violated
-- Whether any case of a subject ended against it.
select exists (select from moderation_case where subject = %(subject)s and resolution = 'violation')

-- name: case
-- By its id.
select id, subject, did, opened_by, state, reason, resolution, opened_at, resolved_at, resolved_by
from moderation_case where id = %(id)s

-- name: latest
-- The newest case of a subject: the open one, where there is one.
select id, subject, did, opened_by, state, reason, resolution, opened_at, resolved_at, resolved_by
from moderation_case where subject = %(subject)s order by id desc limit 1

-- name: listed
-- The queue, longest waiting first; of any other state newest first.
select id, subject, did, opened_by, state, reason, resolution, opened_at, resolved_at, resolved_by
from moderation_case
where (%(state)s::text is null or state = %(state)s)
  and (%(did)s::text is null or did = %(did)s)
  and (%(beyond)s::bigint is null
       or case when %(state)s = 'open' then id > %(beyond)s else id < %(beyond)s end)
order by case when %(state)s = 'open' then id else -id end
limit %(limit)s

-- name: open
-- A new one.
insert into moderation_case (subject, did, opened_by, reason)
values (%(subject)s, %(did)s, %(opened_by)s, %(reason)s)
returning id, subject, did, opened_by, state, reason, resolution, opened_at, resolved_at, resolved_by

-- name: reopen
-- One that was resolved; what came of it is in the log.
update moderation_case set state = 'open', resolution = null, resolved_at = null, resolved_by = null
where id = %(id)s

-- name: resolve
-- Also one that was resolved otherwise before.
update moderation_case
set state = 'resolved', resolution = %(resolution)s, reason = %(reason)s, resolved_at = now(), resolved_by = %(by)s
where id = %(id)s

-- name: clear
-- Every case of a subject that waits or ended against it ends otherwise.
update moderation_case set state = 'resolved', resolution = %(resolution)s, resolved_at = now(), resolved_by = %(by)s
where subject = %(subject)s and (state = 'open' or resolution = 'violation')
returning id

-- name: strikes
-- How many cases of an account ended as violations of somebody's rights, and were not taken back.
select count(*) from moderation_case where did = %(did)s and resolution = 'violation' and reason = 'copyright'

-- name: counts
-- Open cases, and notices whose decision is late.
select (select count(*) from moderation_case where state = 'open') as open,
       (select min(opened_at) from moderation_case where state = 'open') as since,
       (select count(*) from moderation_notice where state = 'received' and due < now()) as late

-- name: add_event
-- The log grows, and that is all that it does.
insert into moderation_event (case_id, subject, did, action, actor, proof, reason, note, detail)
values (%(case_id)s, %(subject)s, %(did)s, %(action)s, %(actor)s, %(proof)s, %(reason)s, %(note)s, %(detail)s)
returning id, at, case_id, subject, did, action, actor, proof, reason, note, detail

-- name: events
-- What happened to a case, oldest first.
select id, at, case_id, subject, did, action, actor, proof, reason, note, detail
from moderation_event where case_id = %(case_id)s order by id

-- name: history
-- What happened to a subject, newest first.
select id, at, case_id, subject, did, action, actor, proof, reason, note, detail
from moderation_event where subject = %(subject)s and id < %(before)s order by id desc limit %(limit)s

-- name: later
-- What was decided about a subject since somebody looked at it.
select id, at, case_id, subject, did, action, actor, proof, reason, note, detail
from moderation_event where subject = %(subject)s and id > %(seen)s and action = any(%(actions)s)
order by id desc limit 1

-- name: flags
-- The verdicts that cases are about.
select distinct (detail->>'scan_id')::bigint from moderation_event
where case_id = any(%(case_ids)s) and detail ? 'scan_id'

-- name: notices
-- About a subject, oldest first.
select id, case_id, subject, did, claimant, statement, state, received_at, answer, answered_at, due
from moderation_notice where subject = %(subject)s order by id

-- name: receive
-- A notice that came in.
insert into moderation_notice (case_id, subject, did, claimant, statement, received_at, due)
values (%(case_id)s, %(subject)s, %(did)s, %(claimant)s, %(statement)s, %(received_at)s, %(due)s)
returning id

-- name: answer
-- The counter-notice answers every notice that was upheld.
update moderation_notice
set state = 'countered', answer = %(answer)s, answered_at = %(answered_at)s, due = %(due)s
where subject = %(subject)s and state = 'upheld'

-- name: move
-- The notices about a subject that are in one of these states, to another that waits for nothing.
update moderation_notice set state = %(state)s, due = null where subject = %(subject)s and state = any(%(states)s)

-- name: due
-- Subjects that come back: the time of the counter-notice is over, and no other notice stands against it.
select distinct n.subject from moderation_notice n
where n.state = 'countered' and n.due <= %(now)s
  and not exists (select from moderation_notice o where o.subject = n.subject
                                                    and (o.state in ('received', 'upheld', 'sued')
                                                         or o.state = 'countered' and o.due > %(now)s))
order by n.subject limit %(limit)s
