-- name: mark
-- Why it is, by the newest decision.
insert into sensitive_image (did, sha256, reason) values (%(did)s, decode(%(sha256)s, 'hex'), %(reason)s)
on conflict (sha256, did) do update set reason = excluded.reason

-- name: unmark
-- It is not, or is out of sight.
delete from sensitive_image where did = %(did)s and sha256 = decode(%(sha256)s, 'hex')
