-- Tracks by tag in the order in which they are shown: an index of arrays has none, so of a tag that many tracks have all
-- had to be read for a page of them.
create table track_tag (
    tag       text not null,
    sort_at   timestamptz not null,     -- track.sort_at
    track_id  bigint not null,          -- track.id, of one that is listed
    repo_id   int not null,
    primary key (tag, sort_at, track_id) include (repo_id)
);
insert into track_tag (tag, sort_at, track_id, repo_id)
select distinct n.tag, t.sort_at, t.id, t.repo_id
from track_stat s join track t on t.id = s.id cross join unnest(s.tags) as n (tag)
where not t.unlisted;
create index track_tag_track on track_tag (track_id);
drop index track_stat_tags;
