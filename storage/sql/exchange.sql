-- name: add
-- A session was made; whoever brings this token within its time gets it.
insert into exchange_token (token_hash, session_id, browser_hash, expires_at)
values (%(token_hash)s, %(session_id)s, %(browser_hash)s, now() + make_interval(secs => %(life_s)s))

-- name: use
-- The first one wins; a second finds it used.
update exchange_token set used_at = now()
where token_hash = %(token_hash)s and used_at is null and expires_at > now()
returning session_id, browser_hash

-- name: prune
-- Neither used nor unused ones are good for anything afterwards.
delete from exchange_token where expires_at < now() - interval '1 hour'
