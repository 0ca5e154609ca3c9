-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: viewer
-- Whose key this is, as long as it opens something, and whether that is worth writing down again. With it, up to
-- where that account's history is whole: before the first gap, else its newest commit.
select did, id, used_at < now() - interval '1 hour',
       (select case when gaps = '[]' then rev else gaps -> 0 ->> 'after' end from repo r where r.did = s.did)
  from session s
 where token_hash = $1::bytea and ended_at is null and (expires_at is null or expires_at > now())

-- name: holder
-- The same of somebody who is thought to be known: no more than it takes to see whether that holds.
select did, id, used_at < now() - interval '1 hour'
  from session
 where token_hash = $1::bytea and ended_at is null and (expires_at is null or expires_at > now())

-- name: session
-- The same with all that the account's own pages want to know, ended or not.
select s.id, s.kind, s.did,
       case when r.identity_at is null then coalesce(r.handle, s.handle) else r.handle end,
       coalesce(s.browser, s.id), s.scope, s.issuer is not null,
       case when s.ended_at is not null then coalesce(s.end_reason, 'ended')
            when s.expires_at <= now() then 'expired' end,
       s.used_at < now() - interval '1 hour', s.created_at < now() - interval '1 day'
  from session s
  left join repo r on r.did = s.did
 where s.token_hash = $1::bytea
