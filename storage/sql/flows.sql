-- name: add
-- Somebody sets out.
insert into oauth_flow (state_hash, browser_hash, kind, session_id, secret, token_name, token_days, return_to,
                        expires_at)
values (%(state_hash)s, %(browser_hash)s, %(kind)s, %(session_id)s, %(secret)s, %(token_name)s, %(token_days)s,
        %(return_to)s, now() + make_interval(secs => %(life_s)s))

-- name: take
-- A state is good once: whoever reads it removes it.
delete from oauth_flow where state_hash = %(state_hash)s
returning kind, browser_hash, session_id, secret, token_name, token_days, return_to, expires_at < now() as expired

-- name: prune
-- Those who never came back. An hour longer than they could: until then we can say what happened.
delete from oauth_flow where expires_at < now() - interval '1 hour'
