-- name: sessions
-- What we hold for people, in pages.
select id, credentials from session where credentials is not null and id > %(after)s order by id limit %(limit)s

-- name: put_session
-- Sealed anew, unless somebody changed it meanwhile: they sealed with the newest key anyway.
update session set credentials = %(new)s where id = %(key)s and credentials = %(old)s

-- name: flows
-- Those who are on their way: not many.
select state_hash, secret from oauth_flow

-- name: put_flow
-- As above.
update oauth_flow set secret = %(new)s where state_hash = %(key)s and secret = %(old)s

-- name: client_keys
-- What we sign with as a client: a handful.
select kid, secret from client_key

-- name: put_client_key
-- As above.
update client_key set secret = %(new)s where kid = %(key)s and secret = %(old)s

-- name: label_keys
-- What we sign labels with: a handful.
select id, secret from label_key

-- name: put_label_key
-- As above.
update label_key set secret = %(new)s where id = %(key)s and secret = %(old)s
