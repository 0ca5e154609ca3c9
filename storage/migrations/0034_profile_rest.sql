-- How an account looks as members of a REST track by it, made once and not for every row of every page. A card's members
-- are always did, handle, displayName, avatar, in this order, the last two where there are any; quotes within them are
-- escaped, so that none of what is looked for can be part of a name. Postgres writes the table anew for this, once.
alter table profile add column rest text not null generated always as (
    ',"artist":' || coalesce(nullif(split_part(split_part(card, ',"displayName":', 2), ',"avatar":', 1), ''),
                             split_part(split_part(split_part(card, ',"displayName":', 1), ',"avatar":', 1),
                                        ',"handle":', 2))
    || ',"artist_did":' || substr(split_part(card, ',"handle":', 1), 7)
    || ',"artist_handle":' || split_part(split_part(split_part(card, ',"displayName":', 1), ',"avatar":', 1),
                                         ',"handle":', 2)
    || ',"artist_avatar_url":' || coalesce(nullif(split_part(card, ',"avatar":', 2), ''), 'null')) stored;
