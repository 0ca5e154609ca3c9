-- A track as the REST interface shows it, rendered when its record is written, like `card`.

alter table track
    add column rest      text,          -- rendered JSON members of a REST track that never change, see
                                        -- indexer/rest_card.py; null: older than this column, not rendered yet
    add column features  text[],        -- DIDs of those featured; null: nobody
    add column album     text,          -- title of the album that it says it is on; null: none
    add column file_id   text;          -- how REST names its sound
create index track_unrendered on track (id) where rest is null;
create index track_file on track (file_id, id);

-- What artists file their tracks under. No record says it, so it is kept where plays are.
alter table track_stat add column tags text[];    -- null: none
create index track_stat_tags on track_stat using gin (tags) where tags is not null;
create index track_stat_tagged on track_stat (id) where tags is not null;

-- What was played in a week.
create index play_day_day on play_day (day);
