-- The records behind the seeded projections, with bytes of the size that such records have.
create function pg_temp.block(n bigint, size int) returns bytea immutable language sql as
    $$select left(repeat(md5(n::text), size / 32 + 1), size)::bytea$$;

insert into record (repo_id, collection, rkey, rev, cid, block, verified)
select repo_id, 'fm.plyr.track', rkey, rkey, cid, pg_temp.block(id, 520), true from track order by repo_id, rkey;

insert into record (repo_id, collection, rkey, rev, cid, block, verified)
select repo_id, 'fm.plyr.like', rkey, rkey, 'bafyrei' || left(md5(rkey) || md5(track_id::text), 52),
       pg_temp.block(track_id, 230), true
from "like" order by repo_id, rkey;

insert into record (repo_id, collection, rkey, rev, cid, block, verified)
select repo_id, 'fm.plyr.comment', rkey, rkey, 'bafyrei' || left(md5(rkey) || md5(track_id::text), 52),
       pg_temp.block(track_id, 320), true
from comment order by repo_id, rkey
