-- Statements for storage/reader.py, of a reader that may write: numbered parameters, prepared once.

-- name: spend
-- Of [issuer, jti, expiry] each: the first to write an id has it; whoever comes later, from whichever process or
-- further down the same list, changes nothing. How far the issuer's history is here (as viewers.viewer) comes along,
-- since every token wants to know it.
with given as materialized (
    select g ->> 0 as issuer, g ->> 1 as jti, (g ->> 2)::float8 as expires_at, place
    from json_array_elements($1::json) with ordinality as each (g, place)
), fresh as (
    insert into used_token (issuer, jti, expires_at)
    select issuer, jti, to_timestamp(expires_at) from given order by issuer, jti
    on conflict (issuer, jti) do nothing
    returning issuer, jti
)
select fresh.jti is not null
           and not exists (
               select from given before
               where (before.issuer, before.jti) = (given.issuer, given.jti) and before.place < given.place
           ),
       (select case when gaps = '[]' then rev else gaps -> 0 ->> 'after' end from repo where did = given.issuer)
from given left join fresh using (issuer, jti)
order by given.place

-- name: sweep
-- Expired tokens are refused for that; a minute more, for clocks that differ. Not more at once than a request can
-- wait for.
delete from used_token
where (issuer, jti) in (
    select issuer, jti from used_token where expires_at < now() - interval '1 minute'
    order by expires_at limit 5000
    for update skip locked
)
returning true
