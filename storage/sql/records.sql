-- name: get_many
-- What we hold under these keys, tombstones included.
select r.repo_id, r.collection, r.rkey, r.rev, r.block, r.verified, r.invalid, r.taken_down, r.unlisted
from json_to_recordset(%(keys)s) as k (repo_id int, collection text, rkey text)
join record r using (repo_id, collection, rkey)

-- name: replace
-- A newer version replaces the whole row, a tombstone too. The guard on rev makes any order and
-- any number of deliveries end the same; `over` is for what turned out not to be the repo's.
update record r
set rev = n.rev, cid = n.cid, block = n.block, verified = n.verified, invalid = n.invalid
from json_to_recordset(%(rows)s) as n
    (repo_id int, collection text, rkey text, rev text, cid text, block bytea, verified boolean, invalid text,
     over text)
where (r.repo_id, r.collection, r.rkey) = (n.repo_id, n.collection, n.rkey)
  and (r.rev < n.rev or r.rev <= n.over or (r.rev = n.rev and n.verified and (not r.verified or r.cid is null)))

-- name: live
-- Everything that is there, for a rebuild: what was invalid may be valid under today's lexicons.
select r.repo_id, r.collection, r.rkey, r.rev, r.cid, r.block, r.verified, r.invalid, p.did, p.pds, r.taken_down,
       p.withheld, r.unlisted
from record r join repo p on p.id = r.repo_id
where r.cid is not null and r.collection = any(%(collections)s)
order by r.repo_id, r.collection, r.rkey

-- name: live_of_repo
-- One account's records of one collection, for new cards when its PDS changes.
select r.repo_id, r.collection, r.rkey, r.rev, r.cid, r.block, r.verified, r.invalid, p.did, p.pds, r.taken_down,
       p.withheld, r.unlisted
from record r join repo p on p.id = r.repo_id
where r.repo_id = %(repo_id)s and r.collection = %(collection)s and r.cid is not null and r.invalid is null
      and r.taken_down is null

-- name: unproven
-- Whose echo is overdue. A repo that nobody has read yet is due by itself.
select distinct p.did from record r join repo p on p.id = r.repo_id
where not r.verified and r.rev < %(before)s and p.resync_due is null and p.rev is not null and p.active
limit %(limit)s

-- name: judge
-- The lexicons changed their mind about these.
update record r set invalid = n.invalid
from json_to_recordset(%(rows)s) as n (repo_id int, collection text, rkey text, invalid text)
where (r.repo_id, r.collection, r.rkey) = (n.repo_id, n.collection, n.rkey)

-- name: profiles
-- The one or two profile records that say how an account looks.
select p.id, p.did, p.handle, p.withheld, r.collection, r.block
from repo p
left join record r on r.repo_id = p.id and r.collection = any(%(collections)s) and r.rkey = 'self'
     and r.cid is not null and r.invalid is null and r.taken_down is null
where p.id = any(%(repo_ids)s)

-- name: known_keys
-- Which of these keys an account ever had in a collection, as far as we saw; deleted ones, too.
select r.rkey from record r join repo p on p.id = r.repo_id
where p.did = %(did)s and r.collection = %(collection)s and r.rkey = any(%(rkeys)s)

-- name: take_down
-- Our own decision, null: lifted. A comment or list is known by a number, which it is to have again.
update record r
set taken_down = %(reason)s,
    number = coalesce(
        (select id from comment c where r.collection = %(comment)s and (c.repo_id, c.rkey) = (r.repo_id, r.rkey)),
        (select id from list l where r.collection = %(list)s and (l.repo_id, l.rkey) = (r.repo_id, r.rkey)),
        r.number)
where (repo_id, collection, rkey) = (%(repo_id)s, %(collection)s, %(rkey)s)
  and taken_down is distinct from %(reason)s

-- name: unlist
-- Our own decision about a track, null: lifted.
update record set unlisted = %(reason)s
where (repo_id, collection, rkey) = (%(repo_id)s, %(collection)s, %(rkey)s) and unlisted is distinct from %(reason)s
