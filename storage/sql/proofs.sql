-- name: add
-- All of the bytes are one parameter that is cut up here: an array of them would cost five times as much.
insert into commit_proof (repo_id, rev, car)
select n.repo_id, n.rev, substring(%(cars)b::bytea from n.start for n.size)
from json_to_recordset(%(rows)s) as n (repo_id int, rev text, start int, size int)
on conflict do nothing

-- name: sweep
-- Proofs of versions that these repos no longer have. One pass over the records of each.
delete from commit_proof p
where p.repo_id = any(%(repo_ids)s)
  and not exists (
    select from record r
    where r.repo_id = any(%(repo_ids)s) and r.repo_id = p.repo_id and r.rev = p.rev and r.cid is not null)
