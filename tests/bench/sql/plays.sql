-- Tracks, and plays of 90 days; some tracks are played far more often than others.
insert into repo (did) values ('did:plc:aaaaaaaaaaaaaaaaaaaaaaaa');
insert into profile (repo_id, card, search) select id, '"did":""', '' from repo;
insert into track_uri (uri) select 'at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/fm.plyr.track/' || n from generate_series(1, {tracks}) n;
insert into track_stat (id) select id from track_uri;
insert into track (id, repo_id, rkey, cid, sort_at, indexed_at, title, card, search)
select u.id, r.id, u.id::text, 'c', now(), now(), 't', '"audio":{"durationS":200}', '' from track_uri u, repo r;
insert into play (track_id, listener, at)
select 1 + ({tracks} * power(random(), 3))::bigint % {tracks}, substring(sha256(n::text::bytea) for 16),
       now() - interval '90 days' + n * (interval '90 days' / {plays})
from generate_series(1, {plays}) n;
update track_stat s set plays = p.plays from (select track_id, count(*) as plays from play group by 1) p where s.id = p.track_id;
create table plain (like play including all)
