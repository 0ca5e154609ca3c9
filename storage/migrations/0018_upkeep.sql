-- What keeps itself in shape.

-- A job is updated a few times a second while it is done, and kept for a month: with the usual fifth of a month's jobs
-- as dead rows, looking for unfinished ones would read mostly these. A track_stat row is written by each like and
-- play, and every update makes new entries in the index of the order of getTop; of a million tracks the usual fifth
-- is 200,000 dead ones there. Both indexed, so room in the page would not help, but vacuuming sooner does.
--
-- Left as they are: session (written once an hour each at most) and staged_upload (some rows that come and go: the
-- usual 50 dead rows and a fifth are soon reached). Those of procrastinate get theirs with its tables.
alter table job set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
alter table track_stat set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- Images of which it is known how large they are, and so which renditions they must have; or why they cannot be
-- drawn. Renditions themselves are not here.
create table image_drawn (
    blob_id   bigint primary key references blob on delete cascade,
    width     int,                  -- pixels; null: it cannot be drawn
    error     text,
    drawn_at  timestamptz not null default now(),
    check ((width is null) <> (error is null))
);
