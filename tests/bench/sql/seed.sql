-- A service that has been running for a while: {accounts} accounts, {tracks} tracks, {likes} likes,
-- {comments} comments, the same ones for the same numbers. Popularity falls off steeply: half
-- of all likes are on an eighth of the tracks. Identifiers are made as in `activity.py`.
-- Secondary indexes are away while this runs (`seed.py`).

create function pg_temp.did(n bigint) returns text immutable language sql as
    $$select 'did:plc:' || translate(left(md5('account ' || n), 24), '0189', 'wxyz')$$;
create function pg_temp.rkey(n bigint) returns text immutable language sql as
    $$select '3kaa' || translate(lpad(to_hex(n), 9, '0'), '0189', 'ghij')$$;
create function pg_temp.cid(n bigint) returns text immutable language sql as
    $$select 'bafyrei' || left(translate(md5(n::text) || md5('cid ' || n), '0189', 'wxyz'), 52)$$;
create function pg_temp.zulu(t timestamptz) returns text immutable language sql as
    $$select to_char(t at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')$$;

insert into repo (id, did, handle, pds, signing_key, identity_at, identity_due, resync_due, state, rev, data)
overriding system value
select n, pg_temp.did(n), 'artist' || n || '.plyr.example', 'https://pds' || n % 20 || '.example',
       {signing_key}, now(), null, null, 'active', {rev}, {data}
from generate_series(1, {accounts}::bigint) n;
select setval(pg_get_serial_sequence('repo', 'id'), {accounts});

insert into profile (repo_id, display_name, avatar, card, search)
select id, 'Artist Nr. ' || id, 'https://cdn.example/avatar/' || did || '.jpg',
       format('"did":"%s","handle":"%s","displayName":"Artist Nr. %s","avatar":"https://cdn.example/avatar/%s.jpg"',
              did, handle, id, did),
       to_tsvector('simple', translate(handle, '.', ' ') || ' artist nr ' || id)
from repo;

-- As columns first: the ORM's tables hold them so, and cards are rendered from them.
-- Some accounts have all of their tracks on one album.
insert into orm.track
select n, n % {accounts} + 1, pg_temp.rkey(n), pg_temp.cid(n), 'Track ' || n || ' with a title',
       'Artist Nr. ' || n % {accounts} + 1, 'mp3', case when n % 3 = 0 or n % {accounts} < 1000 then 'Album ' || n % 1000 end,
       (n % 600 + 30)::int, 'https://audio.plyr.fm/audio/' || md5(n::text) || md5('sound ' || n),
       'bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy', 'audio/mpeg', 8000000 + n,
       'https://images.plyr.fm/images/' || md5('image ' || n) || '.webp',
       case when n % 4 = 0 then 'Recorded on a rainy afternoon, take ' || n || ', with the window open.' end,
       pg_temp.zulu(timestamptz '2026-01-01 00:00Z' + n * interval '20 s'),
       timestamptz '2026-01-01 00:00Z' + n * interval '20 s',
       timestamptz '2026-01-01 00:00Z' + n * interval '20 s'
from generate_series(1, {tracks}::bigint) n;

insert into track (id, repo_id, rkey, cid, sort_at, indexed_at, title, card, search)
select t.id, t.repo_id, t.rkey, t.cid, t.sort_at, t.indexed_at, t.title,
       format('"uri":"at://%s/fm.plyr.track/%s","cid":"%s","record":{{"$type":"fm.plyr.track","title":"%s",'
              '"artist":"%s","fileType":"mp3",%s"duration":%s,"audioUrl":"%s","audioBlob":{{"$type":"blob",'
              '"ref":{{"$link":"%s"}},"mimeType":"%s","size":%s}},"imageUrl":"%s",%s"createdAt":"%s"}},'
              '"indexedAt":"%s","verified":true,"audio":{{"url":"%s","mimeType":"%s","durationS":%s}},"image":"%s"',
              r.did, t.rkey, t.cid, t.title, t.artist, '"album":"' || t.album || '",', t.duration, t.audio_url,
              t.audio_cid, t.audio_mime, t.audio_size, t.image_url, '"description":"' || t.description || '",',
              t.created_at, pg_temp.zulu(t.indexed_at), t.audio_url, t.audio_mime, t.duration, t.image_url),
       to_tsvector('simple', lower(t.title || ' ' || t.artist || ' ' || coalesce(t.album, '')))
from orm.track t join repo r on r.id = t.repo_id
order by t.id;

select setseed(0.5);
create temporary table new_like as
select n, n % {accounts} + 1 as repo_id,
       floor({tracks} * power(random(), 3))::bigint * 7919 % {tracks} + 1 as track_id,
       timestamptz '2026-01-01 00:00Z' + n * interval '4 s' as sort_at
from generate_series(1, {likes}::bigint) n;

insert into "like" (repo_id, track_id, rkey, sort_at)
select repo_id, track_id, pg_temp.rkey({tracks} + n), sort_at
from new_like order by repo_id, track_id, n;

insert into comment (repo_id, rkey, track_id, timestamp_ms, sort_at, card)
select repo_id, pg_temp.rkey({tracks} + {likes} + n), track_id, n % 300000, sort_at,
       format('"uri":"at://%s/fm.plyr.comment/%s","cid":"%s","record":{{"$type":"fm.plyr.comment","text":'
              '"what a part","timestampMs":%s,"createdAt":"%s"}},"indexedAt":"%s","verified":true',
              pg_temp.did(repo_id), pg_temp.rkey({tracks} + {likes} + n), pg_temp.cid({tracks} + {likes} + n),
              n % 300000, pg_temp.zulu(sort_at), pg_temp.zulu(sort_at))
from new_like where n <= {comments} order by repo_id, n;

insert into track_uri (id, uri)
overriding system value
select t.id, 'at://' || r.did || '/fm.plyr.track/' || t.rkey
from orm.track t join repo r on r.id = t.repo_id
order by t.id;
select setval(pg_get_serial_sequence('track_uri', 'id'), {tracks});

insert into track_stat (id, likes, comments, plays)
select t.id, coalesce(l.likes, 0), coalesce(c.comments, 0), t.id % 50
from orm.track t
left join (select track_id, count(distinct repo_id) as likes from new_like group by track_id) l on l.track_id = t.id
left join (select track_id, count(*) as comments from comment group by track_id) c on c.track_id = t.id
order by t.id;
drop table new_like
