-- name: add
-- A grant came in. Whoever holds its key is told later, or now, for a minted one.
insert into session (token_hash, prefix, kind, did, handle, browser, name, scope, issuer, credentials, expires_at)
values (%(token_hash)s, %(prefix)s, %(kind)s, %(did)s, %(handle)s, %(browser)s, %(name)s, %(scope)s, %(issuer)s,
        %(credentials)s, now() + make_interval(secs => %(life_s)s))
returning id

-- name: give
-- A new key for a session; who held the old one holds nothing.
update session
set token_hash = %(token_hash)s, prefix = %(prefix)s, used_at = now(),
    expires_at = case when kind = 'browser' then now() + make_interval(secs => %(slide_s)s) else expires_at end
where id = %(id)s and ended_at is null and (expires_at is null or expires_at > now())
returning kind, did, coalesce(browser, id) as browser

-- name: linked
-- The accounts of one browser, in the order in which they came.
select s.id, s.did, case when r.identity_at is null then coalesce(r.handle, s.handle) else r.handle end as handle,
       p.avatar
from session s
left join repo r on r.did = s.did
left join profile p on p.repo_id = r.id and not p.hidden
where (s.browser = %(browser)s or s.id = %(browser)s) and s.kind = 'browser' and s.ended_at is null
      and (s.expires_at is null or s.expires_at > now())
order by s.id

-- name: of_browser
-- Who shares a browser with this one, and may be reached from it.
select id from session where (browser = %(browser)s or id = %(browser)s) and ended_at is null

-- name: browsers_of
-- Every browser in which one of these accounts is signed in.
select id from session where did = any(%(dids)s) and kind = 'browser' and ended_at is null

-- name: of_account
-- Whatever opens something as this account.
select id from session where did = %(did)s and ended_at is null

-- name: tokens
-- An account's developer tokens, newest first. One that nobody fetched is none.
select id, prefix, name, created_at, expires_at from session
where did = %(did)s and kind = 'token' and token_hash is not null and ended_at is null
      and (expires_at is null or expires_at > now())
order by id desc

-- name: end
-- From here on every process refuses them. The grant is given back afterwards, by whoever takes the lease.
update session set ended_at = now(), end_reason = %(reason)s
where id = any(%(ids)s) and ended_at is null

-- name: end_late
-- Nobody used them in time, or fetched them at all.
update session set ended_at = now(),
       end_reason = case when token_hash is null then 'never_fetched' else 'expired' end
where ended_at is null and (expires_at <= now() or token_hash is null and created_at < now() - interval '5 minutes')

-- name: touch
-- In use: a browser's two weeks begin anew. Written once an hour at most.
update session
set used_at = now(),
    expires_at = case when kind = 'browser' then now() + make_interval(secs => %(slide_s)s) else expires_at end
where id = any(%(ids)s) and ended_at is null and used_at < now() - interval '1 hour'

-- name: read
-- What we hold for a session.
select credentials, version, ended_at is not null as ended, end_reason from session where id = %(id)s

-- name: holders
-- The processes that have a lease on these, or on any.
select distinct lease_holder from session
where lease_until > clock_timestamp() and lease_holder is not null
      and (%(ids)s::bigint[] is null or id = any(%(ids)s))

-- name: lease
-- One at a time refreshes the credentials of this version. A lease that ran out was left by somebody who died, and
-- need not run out if that can be seen.
update session s
set lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s), lease_holder = %(holder)s
from (select id, lease_until is not null as lapsed from session
      where id = %(id)s and version = %(version)s and ended_at is null and credentials is not null
            and (lease_until is null or lease_until <= clock_timestamp() or lease_holder = any(%(gone)s))
      for update skip locked) free
where s.id = free.id
returning s.credentials, s.lease_until, free.lapsed

-- name: save
-- The answer of a refresh. Also for a session that ended meanwhile: what was granted must be given back.
update session
set credentials = %(credentials)s, version = version + 1, refreshed_at = now(), lease_until = null,
    lease_holder = null
where id = %(id)s and version = %(version)s

-- name: idle
-- Grants that were not refreshed for long; any, so that a server that is away keeps nobody from the others.
select id, version from session
where ended_at is null and credentials is not null and refreshed_at < now() - make_interval(secs => %(idle_s)s)
order by random() limit %(limit)s

-- name: keep
-- The same grant with a newer nonce. Whoever refreshes knows better.
update session set credentials = %(credentials)s
where id = %(id)s and version = %(version)s and lease_until is null and ended_at is null

-- name: release
-- The refresh did not come about; somebody else may try.
update session set lease_until = null, lease_holder = null
where id = %(id)s and version = %(version)s and lease_until = %(lease_until)s

-- name: lose
-- The grant of this version is gone: nothing is left to give back.
update session
set ended_at = now(), end_reason = %(reason)s, credentials = null, lease_until = null, lease_holder = null
where id = %(id)s and version = %(version)s and ended_at is null
returning did

-- name: take_ended
-- Grants of ended sessions that are still to be given back, under a lease.
update session s
set lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s), lease_holder = %(holder)s
from (select id from session
      where ended_at is not null and credentials is not null
            and (%(ids)s::bigint[] is null or id = any(%(ids)s))
            and (lease_until is null or lease_until <= clock_timestamp() or lease_holder = any(%(gone)s))
      order by ended_at limit %(limit)s
      for update skip locked) due
where s.id = due.id
returning s.id, s.credentials, s.version, s.ended_at < now() - interval '1 day' as late

-- name: forget
-- Given back, or not worth another try.
update session set credentials = null, lease_until = null, lease_holder = null
where id = %(id)s and version = %(version)s

-- name: is_artist
-- Whether an account has shown itself here before.
select exists (
    select from repo r
    where r.did = %(did)s and (exists (select from track t where t.repo_id = r.id)
          or exists (select from profile p where p.repo_id = r.id and p.created_at is not null)))

-- name: prune
-- Long ended ones are of no use to anybody; the audit log remembers them.
delete from session where ended_at < now() - interval '90 days' and credentials is null

-- name: grants
-- With what we may act for an account. A session that was minted here has nothing, and whoever leaves writes no more.
select id, scope from session
where not exists (select from account_deletion d where d.did = %(did)s and d.finished_at is null)
      and did = %(did)s and (%(session)s::bigint is null or id = %(session)s) and credentials is not null
      and ended_at is null and (expires_at is null or expires_at > now())
order by id desc

-- name: wisher
-- Who set out on a flow, if they are still signed in.
select did, coalesce(browser, id) as browser from session
where id = %(id)s and ended_at is null and (expires_at is null or expires_at > now())
