-- name: advance
-- The usual case as one statement: repos in step whose commits continue where we are move on, which locks
-- them, and their records are added. Keys that we hold already come back by their number in the batch;
-- a repo that does not come back at all was not in step, or may be told of another history than its own, or by
-- a PDS that is not its home, and nothing of it was touched. Hidden or not is
-- read from the row that was waited for: another table's row would be the one from before the wait.
with advanced as (
    update repo r
    set rev = n.rev, data = n.data, last_seen_at = now()
    from json_to_recordset(%(runs)s) as n (did text, since text, prev_data text, rev text, data text)
    where r.did = n.did and r.rev = n.since and r.data = n.prev_data and r.state = 'active'
          and (r.forked_rev is null or r.forked_rev <= r.rev)
          and (%(host)s::text is null or r.pds is null or r.pds = %(host)s)
    returning r.id, r.did, r.pds, not r.active or r.taken_down is not null as hidden,
              r.withheld
), wanted as materialized (
    select a.id as repo_id, k.*
    from json_to_recordset(%(rows)s) as k
        (n int, did text, collection text, rkey text, rev text, cid text, block bytea, verified boolean,
         invalid text)
    join advanced a using (did)
), added as (
    insert into record (repo_id, collection, rkey, rev, cid, block, verified, invalid)
    select repo_id, collection, rkey, rev, cid, block, verified, invalid from wanted
    on conflict do nothing
    returning repo_id, collection, rkey
)
select id, did, pds, hidden, withheld, null from advanced
union all
select null, null, null, null, null, n from wanted
where (repo_id, collection, rkey) not in (select repo_id, collection, rkey from added)

-- name: add
-- The same for repos that are locked already, whatever their state.
with wanted as materialized (
    select r.id as repo_id, k.*
    from json_to_recordset(%(rows)s) as k
        (n int, did text, collection text, rkey text, rev text, cid text, block bytea, verified boolean,
         invalid text)
    join repo r using (did)
), added as (
    insert into record (repo_id, collection, rkey, rev, cid, block, verified, invalid)
    select repo_id, collection, rkey, rev, cid, block, verified, invalid from wanted
    on conflict do nothing
    returning repo_id, collection, rkey
)
select n from wanted where (repo_id, collection, rkey) not in (select repo_id, collection, rkey from added)
