-- Track URIs in a table of their own: a counter that moves no longer touches the index of URIs.

create table track_uri (
    id   bigint generated always as identity primary key,
    uri  text not null unique
);
insert into track_uri (id, uri) overriding system value select id, uri from track_stat order by id;
select setval(pg_get_serial_sequence('track_uri', 'id'), coalesce(max(id), 1), max(id) is not null) from track_uri;
alter table track_stat alter column id drop identity, drop column uri;
