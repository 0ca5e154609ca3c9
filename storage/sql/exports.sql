-- name: count
-- Before an export is begun.
select count(*) from repo r join profile v on v.repo_id = r.id and not v.hidden join track t on t.repo_id = r.id
where r.did = %(did)s

-- name: wait
-- A takedown under way has this row until it commits. Before anything is read, in a transaction of its own: whichever
-- gets the row only after that is decided at a later time than this one.
select clock_timestamp() from repo where did = %(did)s for key share

-- name: page
-- All that is told of each track, and where its bytes are. The original counts; a mirrored one has none.
select t.rkey, u.uri, t.cid, t.title, t.sort_at, c.block, p.car as proof,
       coalesce(s.plays, 0) as plays, coalesce(s.likes, 0) as likes, coalesce(s.comments, 0) as comments,
       m.original_id is not null as original, d.duration_s,
       b.id as blob_id, b.area, encode(b.sha256, 'hex') as sha256, b.bytes, b.crc32, b.mime
from repo r
join profile v on v.repo_id = r.id and not v.hidden
join track t on t.repo_id = r.id
join track_uri u on u.id = t.id
left join track_stat s on s.id = t.id
left join record c on c.repo_id = r.id and c.collection = split_part(u.uri, '/', 4) and c.rkey = t.rkey
     and c.cid is not null
left join commit_proof p on p.repo_id = r.id and p.rev = c.rev and c.verified
left join track_media m on m.did = r.did and m.rkey = t.rkey
left join blob b on b.id = coalesce(m.original_id, m.stream_id) and b.state = 'published'
     and (r.withheld is null or not exists (
          select from blob x
          where x.id in (m.original_id, m.stream_id) and r.withheld ? encode(x.sha256, 'hex')))
left join sound d on d.blob_id = b.id
where r.did = %(did)s and t.rkey > %(after)s
order by t.rkey limit %(limit)s

-- name: may_have
-- Neither expired nor out of sight, and with nothing that was taken down since: bytes, or a track, which is in it if
-- it went only after the export had begun to read (`wait`; of older ones: was begun).
select 1 from repo r join profile v on v.repo_id = r.id and not v.hidden
where r.did = %(did)s and exists (select from blob_owner where kind = 'export' and owner = %(owner)s)
  and not exists (
       select from record c
       join track_uri u on u.uri = 'at://' || r.did || '/' || c.collection || '/' || c.rkey
       join decision d on d.did = r.did and d.kind = 'takedown' and starts_with(d.reason, u.uri || ':')
       where c.repo_id = r.id and c.taken_down is not null
         and d.at >= (select coalesce((facts ->> 'read_at')::timestamptz, created_at) from job
                      where id = %(owner)s::uuid))
  and (r.withheld is null or not exists (
       select from blob_owner o
       left join track_media m on m.did = r.did and o.blob_id in (m.original_id, m.stream_id)
       join blob x on x.id in (o.blob_id, m.original_id, m.stream_id)
       where o.kind = 'export' and o.owner = %(owner)s and r.withheld ? encode(x.sha256, 'hex')))

-- name: expire
-- Whole exports by the age of their oldest claim; the grace of what nobody else owns begins.
with old as (
    select owner from blob_owner where kind = 'export' group by owner
    having min(created_at) < now() - make_interval(secs => %(keep_s)s)
), gone as (
    delete from blob_owner o using old where o.kind = 'export' and o.owner = old.owner returning o.blob_id
), released as (
    select blob_id, count(*) as n from gone group by 1
), counted as (
    update blob b set owners = b.owners - n, unowned_at = case when b.owners = n then now() end
    from released where b.id = released.blob_id
)
select count(*) from old
