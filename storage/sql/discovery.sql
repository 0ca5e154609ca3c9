-- name: begin
-- Go on with an enumeration that was interrupted, or begin a new one if the last ended long enough ago.
insert into discovery (source, collection) values (%(source)s, %(collection)s)
on conflict (source, collection) do update
set cursor = case when discovery.finished_at is null then discovery.cursor end,
    found = case when discovery.finished_at is null then discovery.found else 0 end,
    started_at = case when discovery.finished_at is null then discovery.started_at else now() end,
    finished_at = null
where discovery.finished_at is null or discovery.finished_at <= now() - make_interval(secs => %(every_s)s)
returning cursor

-- name: advance
-- A page was taken in; without a cursor it was the last.
update discovery
set cursor = %(cursor)s, found = found + %(found)s, finished_at = case when %(cursor)s::text is null then now() end
where source = %(source)s and collection = %(collection)s

-- name: expire
-- Every list is due again from its beginning.
update discovery set cursor = null, finished_at = null

-- name: forget
-- This host has no such list.
delete from discovery where source = %(source)s and collection = %(collection)s

-- name: is_live
-- Whether somebody follows the stream already, and knows where to go on.
select exists (select from source_cursor)

-- name: unknown
-- Those that we do not track, and were not asked to forget.
select d.did from unnest(%(dids)s::text[]) as d (did)
where not exists (select from repo r where r.did = d.did)
  and not exists (select from forgotten f where f.did_hash = sha256(convert_to(d.did, 'UTF8')))
