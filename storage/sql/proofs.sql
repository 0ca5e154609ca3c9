-- name: add
-- All of the bytes are one parameter that is cut up here: an array of them would cost five times as much.
insert into commit_proof (repo_id, rev, car)
select n.repo_id, n.rev, substring(%(cars)b::bytea from n.start for n.size)
from json_to_recordset(%(rows)s) as n (repo_id int, rev text, start int, size int)
on conflict do nothing

-- name: sweep
-- Proofs of versions that are no longer there, some at a time.
delete from commit_proof p
using (
    select repo_id, rev from commit_proof c
    where not exists (
        select from record r where r.repo_id = c.repo_id and r.rev = c.rev and r.cid is not null)
    limit %(most)s
) gone
where (p.repo_id, p.rev) = (gone.repo_id, gone.rev)
