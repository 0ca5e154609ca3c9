-- Statements for DuckDB: what is true after everything in `event`. Parameters are named.

-- name: newest
-- The version with the highest rev wins; of the same rev, the one that was decided last. One that goes over
-- what was not the repo's counts as of that rev.
create table newest as
select did, collection, rkey, arg_max(seq, (coalesce(detail ->> 'over', rev), seq)) as seq
from event where kind = 'record' group by did, collection, rkey

-- name: account
-- What was last said of each account. Nothing but its first entry and its identities names hosts and keys.
create table account as
select b.did, (b.said ->> 'id')::integer as id, i.said ->> 'handle' as handle,
       case when i.did is null then b.said ->> 'pds' else i.said ->> 'pds' end as pds,
       case when i.did is null then b.said ->> 'signing_key' else i.said ->> 'signing_key' end as signing_key,
       coalesce((a.said ->> 'active')::boolean, true) as active, a.said ->> 'status' as status,
       case when t.said.verdict = 'down' then t.said.reason end as taken_down,
       b.since_us
from (select did, arg_max(detail, seq)::json as said, epoch_us(min(received_at)) as since_us
      from event where kind = 'repo' group by did) b
left join (select did, arg_max(detail, seq)::json as said from event where kind = 'identity' group by did) i
    using (did)
left join (select did, arg_max(detail, seq)::json as said from event where kind = 'account' group by did) a
    using (did)
left join (select did, arg_max(struct_pack(verdict := verdict, reason := reason), seq) as said
           from event where kind = 'takedown' and collection is null group by did) t using (did)

-- name: withheld
-- The records that we took down, and why.
create table withheld as
select did, collection, rkey, arg_max(reason, seq) as reason
from event where kind = 'takedown' and collection is not null
group by did, collection, rkey having arg_max(verdict, seq) = 'down'

-- name: withheld_bytes
-- The bytes that we took down, and why, of each account.
create table withheld_bytes as
select did, json_group_object(sha256, reason)::varchar as hashes
from (select did, detail ->> 'sha256' as sha256, arg_max(reason, seq) as reason
      from event where kind = 'withhold' group by did, 2 having arg_max(verdict, seq) = 'down')
group by did

-- name: unlisted
-- The tracks that we list nowhere, and why.
create table unlisted as
select did, collection, rkey, arg_max(reason, seq) as reason
from event where kind = 'listing'
group by did, collection, rkey having arg_max(verdict, seq) = 'unlisted'

-- name: name
-- The numbers of track URIs, as they were given, and of lists; one that was deleted and made anew has a new one.
create table name as
select detail ->> 'uri' as uri, arg_max(coalesce(detail ->> 'id', detail ->> 'list')::bigint, seq) as id,
       bool_or(detail ->> 'list' is not null) as is_list
from event where kind = 'name' group by uri

-- name: step
-- What moved repos, each beside the one before it.
create table step as
with told as (
    select did, seq, epoch_us(received_at) as at_us, kind, rev, verdict, unnest(from_json(detail, '{
               "since": "VARCHAR", "data": "VARCHAR", "prev_data": "VARCHAR", "gaps": "JSON", "before": "JSON",
               "synced_rev": "VARCHAR", "over": "VARCHAR", "forked": "BOOLEAN"}'))
    from event where kind in ('commit', 'sync', 'doubt', 'resync', 'state')
)
select *, row_number() over w = 1 or coalesce(
       kind = 'commit' and rev > lag(rev) over w and since = lag(rev) over w and prev_data = lag(data) over w,
       false) as linked
from told
window w as (partition by did order by seq)

-- name: hearsay
-- Versions that nothing proves. A repo that was read whole proves what it had by then.
create table hearsay as
select n.seq from newest n join event e on e.seq = n.seq
where e.verdict = 'unverified'
  and not exists (select 1 from step s
                  where s.kind = 'resync' and s.did = e.did and s.rev >= e.rev and s.seq > e.seq)

-- name: steps
-- A repo whose commits all continue one another comes as one commit, from the first to the last of them.
with plain as (
    select did, arg_min_null(since, seq) as since, arg_min_null(prev_data, seq) as prev_data, min(seq) as seq,
           arg_max(rev, seq) as rev, arg_max(data, seq) as data, max(at_us) as at_us
    from step group by did having bool_and(linked and kind = 'commit')
)
select did, seq, at_us, kind, rev, since, data, prev_data, verdict, gaps, before, synced_rev, over, forked
from step anti join plain using (did)
union all
select did, seq, at_us, 'commit', rev, since, data, prev_data, null, null, null, null, null, null from plain
order by did, seq

-- name: records
-- The newest versions, shared out by account.
copy (
    select a.id as repo_id, e.did, e.collection, e.rkey, e.rev, e.cid, e.block,
           e.seq not in (select seq from hearsay) as verified, a.pds, w.reason as taken_down, h.hashes as withheld,
           u.reason as unlisted, a.id % $parts as part
    from event e join newest n on n.seq = e.seq join account a on a.did = e.did
    left join withheld w on (w.did, w.collection, w.rkey) = (e.did, e.collection, e.rkey)
    left join withheld_bytes h on h.did = e.did
    left join unlisted u on (u.did, u.collection, u.rkey) = (e.did, e.collection, e.rkey)
) to $folder (format parquet, compression lz4, partition_by (part))

-- name: profiles
-- Each account with its two profile records, shared out likewise.
copy (
    with looks as (
        select e.did, e.collection, e.block from event e join newest n on n.seq = e.seq
        where e.collection in ($own, $bluesky) and e.rkey = 'self' and e.block is not null
          and (e.did, e.collection, e.rkey) not in (select did, collection, rkey from withheld)
    )
    select a.id as repo_id, a.did, a.handle, not a.active or a.taken_down is not null as hidden,
           o.block as own, b.block as bluesky, h.hashes as withheld, a.id % $parts as part
    from account a
    left join withheld_bytes h on h.did = a.did
    left join looks o on o.did = a.did and o.collection = $own
    left join looks b on b.did = a.did and b.collection = $bluesky
) to $folder (format parquet, compression lz4, partition_by (part))

-- name: names
-- For those who look them up.
copy (select uri, id from name) to $file (format parquet)

-- name: all_names
-- Those of track URIs.
select id, uri from name where not is_list

-- name: highest_list
-- Up to here numbers were given to lists.
select coalesce(max(id), 0) from name where is_list

-- name: accounts
-- All of them.
select id, did, handle, pds, signing_key, active, status, taken_down, since_us, hashes
from account left join withheld_bytes using (did)

-- name: rejected
-- What is still set aside: the last word on each digest is that it was rejected.
select source, detail ->> 'digest', source_seq, did, verdict, reason, block, epoch_us(received_at)
from event
where seq in (select max(seq) from event where kind in ('rejected', 'dropped')
              group by source, detail ->> 'digest')
  and kind = 'rejected'

-- name: forgotten
-- Who asked to be, and was not tracked again since.
select f.hash, epoch_us(f.at)
from (select detail ->> 'hash' as hash, max(seq) as seq, max(received_at) as at
      from event where kind = 'forgotten' group by hash) f
where not exists (select 1 from event e where e.kind = 'repo' and e.seq > f.seq and sha256(e.did) = f.hash)

-- name: counts
-- How much there was to fold.
select count(*), count(*) filter (kind = 'record') from event

-- name: lost
-- Records of accounts, and names, that the archive never introduced.
select count(*) from newest anti join account using (did)

-- name: part_records
-- One worker's share.
select repo_id, did, collection, rkey, rev, cid, block, verified, pds, taken_down, withheld, unlisted
from read_parquet($files)

-- name: part_profiles
-- Likewise.
select repo_id, did, handle, hidden, own, bluesky, withheld from read_parquet($files)

-- name: part_names
-- Likewise.
select uri, id from read_parquet($files)

-- name: source_seq
-- Where a source was at a time: the last thing of ours that came from it until then.
select max(source_seq) from event where source = $source and received_at <= $moment::timestamptz
