-- name: add
-- From here on nobody takes them in.
insert into forgotten (did_hash) values (%(did_hash)s) on conflict do nothing

-- name: lift
-- They came back.
delete from forgotten where did_hash = %(did_hash)s returning did_hash

-- name: version
-- Changes whenever the list does.
select count(*), coalesce(max(at), 'epoch') from forgotten

-- name: all
-- Whom the stream may pass by.
select did_hash from forgotten

-- name: has
-- One of them?
select exists (select from forgotten where did_hash = %(did_hash)s)

-- name: left
-- Or about to be one.
select exists (select from account_deletion where did = %(did)s and finished_at is null)
    or exists (select from forgotten where did_hash = %(did_hash)s)

-- name: erase
-- All rows of one account. What it liked and said was taken out of the counters when it went out of sight; numbers
-- of its tracks are looked at later (`names`).
with tags as (update track_stat set tags = null
              where tags is not null and id in (select id from track where repo_id = %(repo_id)s)),
     tagged as (delete from track_tag where track_id in (select id from track where repo_id = %(repo_id)s)),
     tracks as (delete from track where repo_id = %(repo_id)s),
     likes as (delete from "like" where repo_id = %(repo_id)s),
     comments as (delete from comment where repo_id = %(repo_id)s),
     lists as (delete from list where repo_id = %(repo_id)s),
     profiles as (delete from profile where repo_id = %(repo_id)s),
     records as (delete from record where repo_id = %(repo_id)s),
     proofs as (delete from commit_proof where repo_id = %(repo_id)s)
delete from repo where id = %(repo_id)s

-- name: erase_story
-- What was told and set aside about it, what its tracks are taken for and that others are taken for them, what it
-- answered to claimants, what other labelers say of it, which of its pictures are sensitive, and its uploads on
-- their way in, whose bytes the collector then drops as nobody's. A frame that nobody could read may hold its name
-- anywhere.
with decisions as (delete from decision where did = %(did)s),
     scans as (delete from copyright_scan where did = %(did)s),
     copies as (
         update copyright_scan c
         set matches = (select jsonb_agg(case when m ->> 'did' = %(did)s then m || n.nameless else m end order by i)
                        from jsonb_array_elements(c.matches) with ordinality e (m, i)),
             dominant = case when c.dominant ->> 'did' = %(did)s then c.dominant || n.nameless else c.dominant end
         from (values ('{"artist": "", "title": "", "did": null, "rkey": null}'::jsonb)) n (nameless)
         where c.is_flagged and c.did <> %(did)s
           and c.matches @> jsonb_build_array(jsonb_build_object('did', %(did)s::text))),
     answers as (update moderation_notice set answer = '' where did = %(did)s and answer is not null),
     labels as (delete from foreign_label
                where uri = %(did)s or starts_with(uri, 'at://' || %(did)s::text || '/')),
     pictures as (delete from sensitive_image where did = %(did)s),
     uploads as (delete from staged_upload where did = %(did)s)
delete from rejected_event
where did = %(did)s or (did is null and position(convert_to(%(did)s, 'UTF8') in raw) > 0)

-- name: lock_names
-- Whoever has looked a number up has written what points there when we get this lock, and whoever comes later
-- looks again. Alone in its transaction, and briefly, so that nobody waits for us in a circle.
set local lock_timeout = '2s';
lock table track_uri in access exclusive mode

-- name: names
-- Numbers of its tracks that nobody points at. Others stay, without what it filed them under: of a track that it had
-- deleted before, that is still there.
with unused as (
    delete from track_uri u
    where starts_with(u.uri, 'at://' || %(did)s || '/')
      and not exists (select from track where id = u.id)
      and not exists (select from "like" where track_id = u.id)
      and not exists (select from comment where track_id = u.id)
      and not exists (select from list_item where track_id = u.id)
    returning u.id
), stats as (
    delete from track_stat s using unused where s.id = unused.id
), tags as (
    update track_stat s set tags = null
    where s.tags is not null
      and s.id in (select id from track_uri where starts_with(uri, 'at://' || %(did)s || '/'))
      and s.id not in (select id from unused)
)
select count(*)::int from unused

-- name: kept_names
-- Those that stay: others' records say them.
select id from track_uri where starts_with(uri, 'at://' || %(did)s || '/')

-- name: outbox_rows
-- Rows that say it, oldest first.
select last_seq, first_seq, at, events from outbox
where last_seq > %(seq)s and position(convert_to(%(did)s, 'UTF8') in events) > 0
order by last_seq limit %(rows)s

-- name: outbox_replace
-- The same seqs, saying less.
update outbox set events = %(events)s where last_seq = %(last_seq)s

-- name: segment_replaced
-- The manifest names the file that was written anew.
update archive_segment set path = %(path)s, bytes = %(bytes)s, sha256 = %(sha256)s where first_seq = %(first_seq)s
