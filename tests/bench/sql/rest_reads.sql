-- What the routes that are in no contest read, once the contests are over: playlists, tags, days of plays, what is
-- playing, exports, earlier sounds, uploads on their way, cases. All of it for those who are signed in; of others as
-- much as it takes for indexes to be used.
create temporary table listener as
select s.id as session_id, r.id as repo_id, r.did, min(t.id) as track_id,
       (array_agg(t.rkey order by t.id))[1] as rkey
from session s join repo r on r.did = s.did join track t on t.repo_id = r.id
group by s.id, r.id, r.did;
-- With grants, as if a server had given them: some read what is theirs in order to change it.
update session set issuer = 'https://pds.example', scope = 'atproto transition:generic', credentials = '\x00';
insert into session (token_hash, prefix, kind, did, name, scope, expires_at)
select sha256(convert_to(l.did || k, 'UTF8')), left(md5(l.did || k), 8), 'token', l.did, 'player ' || k, 'atproto',
       now() + interval '90 days'
from listener l cross join generate_series(1, 5) k;

select setseed(0.25);
insert into list (repo_id, rkey, list_type, name, items, sort_at, card)
select r.id, 'playlist-' || k, 'playlist', 'Playlist ' || k || ' of ' || r.id, 20, now() - k * interval '1 day',
       format('"uri":"at://%s/fm.plyr.list/playlist-%s"', r.did, k)
from repo r
cross join generate_series(1, 2) k
where r.id % 10 = 0 or r.id in (select repo_id from listener);
insert into list_item (list_id, position, track_id)
select l.id, n, floor(m.most * power(random(), 3))::bigint * 7919 % m.most + 1
from list l cross join generate_series(0, 19) n cross join (select max(id) as most from track) m
where l.rkey like 'playlist-%';
insert into list_look (did, name, on_profile)
select r.did, l.rkey, l.rkey = 'playlist-1' from list l join repo r on r.id = l.repo_id where l.rkey like 'playlist-%';

update track_stat set tags = array['genre ' || id / 10 % 7, 'mood ' || id / 10 % 97] where id % 10 = 0;
insert into track_tag (tag, sort_at, track_id, repo_id)
select n.tag, t.sort_at, t.id, t.repo_id
from track t join track_stat s on s.id = t.id cross join unnest(s.tags) as n (tag);

-- Half of all tracks were played on a day of the last month.
insert into play_day (track_id, day, plays)
select t.id, current_date - d, 1 + (t.id * 7919 + d) % 50
from track t cross join generate_series(0, 29) d
where (t.id * 31 + d) % 60 = 0;

insert into preference (did, chosen)
select r.did, '{"allow_comments": true}'
from repo r join track t on t.repo_id = r.id
where t.id in (select n * 7919 % (select max(id) from track) + 1 from generate_series(0, 99) n)
on conflict do nothing;

insert into now_playing (did, track_id, file_id, told, duration_ms, progress_ms, is_playing, until)
select did, track_id, 'none', '{"track_name":"","artist_name":"","album_name":null,"image_url":null}', 180000, 20000,
       true, now() + interval '1 day'
from listener;

insert into blob (area, sha256, bytes, crc32, mime, state, owners, unowned_at)
select 'audio', sha256(convert_to(did || k, 'UTF8')), 8000000, 0, 'audio/mpeg', 'published', 1, null
from listener cross join generate_series(1, 4) k;
insert into sound (blob_id, format, codec, rate, channels, duration_s, playable)
select id, 'mp3', 'mp3', 44100, 2, 180, true from blob;
insert into track_media (did, rkey, original_id, stream_id, published_at)
select l.did, l.rkey, b.id, b.id, now()
from listener l join blob b on b.sha256 = sha256(convert_to(l.did || 4, 'UTF8'));
insert into track_revision (did, rkey, revision, original_id, stream_id)
select l.did, l.rkey, k, b.id, b.id
from listener l cross join generate_series(1, 3) k join blob b on b.sha256 = sha256(convert_to(l.did || k, 'UTF8'));

insert into blob (area, sha256, bytes, crc32, mime, state, owners, unowned_at)
select 'export', sha256(convert_to('export ' || did, 'UTF8')), 1000, 0, 'application/json', 'published', 1, null
from listener;
insert into job (kind, did, subject, args, state, result, finished_at)
select 'export', did, did, '{"track_count": 10}', 'done', '{"tracks": 10}', now() from listener;
insert into blob_owner (kind, owner, blob_id)
select 'export', j.id::text, b.id
from job j join blob b on b.sha256 = sha256(convert_to('export ' || j.did, 'UTF8'));

insert into staged_upload (name, did, bytes, part, plan)
select md5(did || k), did, 80000000, 'sound', jsonb_build_object('plan', jsonb_build_object('title', 'Upload ' || k))
from listener cross join generate_series(1, 3) k;

insert into moderation_case (subject, did, opened_by, state, resolution, opened_at, resolved_at, resolved_by, reason)
select 'at://' || r.did || '/fm.plyr.track/' || t.rkey, r.did, case when t.id % 3 = 0 then 'report' else 'scan' end,
       'resolved', case when t.id % 5 = 0 then 'violation' else 'false_positive' end,
       now() - t.id % 700 * interval '1 day', now() - t.id % 700 * interval '1 day' + interval '5 hours', 'operator',
       'copyright'
from track t join repo r on r.id = t.repo_id where t.id <= 10000;
insert into moderation_event (at, case_id, subject, did, action, actor, proof)
select c.resolved_at, c.id, c.subject, c.did, 'resolve', 'operator', 'command' from moderation_case c;

-- Addresses of sound answer, as a job has found out.
insert into far_sound (track_id, record_cid, url, due, checked_at)
select t.id, t.cid, o.audio_url, now() + interval '1 day', now() from track t join orm.track o on o.id = t.id
where t.id <= 10000;

vacuum analyze list, list_item, list_look, track_stat, track_tag, play_day, preference, now_playing, blob,
               blob_owner, sound, track_media, track_revision, job, staged_upload, moderation_case, moderation_event, far_sound, session
