-- After `rest_in` was filled: every track is rendered. Nobody likes a track twice, which an ordinary service has no
-- way to say.
delete from "like" l using "like" m
where m.repo_id = l.repo_id and m.track_id = l.track_id and m.rkey < l.rkey;
create unique index on rest_in (id);
analyze rest_in;
update track t set rest = n.rest, album = n.album, album_id = n.album_id, file_id = n.file_id
from rest_in n where n.id = t.id;
update orm.track t set file_id = n.file_id, album_id = n.album_id from rest_in n where n.id = t.id;
create index on orm.track (album_id, sort_at, id) where album_id is not null;
create index on orm.track (file_id);
vacuum full analyze track;
vacuum full analyze orm.track;
analyze orm.album;
drop table rest_in
