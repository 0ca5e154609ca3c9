alter table orm.track add primary key (id);
create unique index on orm.track (repo_id, rkey);
create index on orm.track (repo_id, sort_at desc, id desc);
create index on orm.track (sort_at desc, id desc)
