-- name: add
-- Something happened to somebody's access.
insert into audit_event (event, did, session, client, detail)
values (%(event)s, %(did)s, %(session)s, %(client)s, %(detail)s)

-- name: listed
-- For a person, newest first, of one account or of all.
select id, at, event, did, session, client, detail
from audit_event
where (%(did)s::text is null or did = %(did)s) and (%(before)s::bigint is null or id < %(before)s)
order by id desc limit %(limit)s

-- name: prune
-- A year is long enough to find out, and addresses of people are not ours to collect.
delete from audit_event where at < now() - interval '1 year'
