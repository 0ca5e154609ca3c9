-- Part of statements that count what many accounts have.

-- name: few
-- The accounts out of sight, of which mostly there are few; if not, enough of them to tell.
select repo_id from profile where hidden limit 1001

-- name: seen
-- Whether the account of x is in sight. If few are not, these are looked for once, as `few`, and not for each x. If many
-- are, each x looks for its own: by "limit", since the planner may not know yet how many there are, and without it
-- reads all of them for each.
x.repo_id not in (select repo_id from few)
and ((select count(*) from few) <= 1000
     or (select true from profile where repo_id = x.repo_id and hidden limit 1) is null)
