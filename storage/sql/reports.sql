-- name: account
-- Whether we know an account.
select exists (select from repo where did = %(did)s)

-- name: record
-- The version of a record that we show now.
select r.cid from record r join repo p on p.id = r.repo_id
where p.did = %(did)s and r.collection = %(collection)s and r.rkey = %(rkey)s
  and r.cid is not null and r.invalid is null

-- name: judged
-- Whether something was ever decided against a subject.
select exists (
    select from moderation_case where subject = %(subject)s and state = 'resolved' and resolution = 'violation')
