-- name: add
-- Bytes as they came, so no text form of them is made.
insert into commit_proof (repo_id, rev, car)
select * from unnest(%(repo_ids)s::int[], %(revs)s::text[], %(cars)s::bytea[])
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
