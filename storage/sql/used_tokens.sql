-- Statements for storage/reader.py, of a reader that may write: numbered parameters, prepared once.

-- name: spend
-- The first to write an id has it; whoever comes later, from whichever process, changes nothing. How far the
-- issuer's history is here (as viewers.viewer) comes along, since every token wants to know it.
with fresh as (
    insert into used_token (issuer, jti, expires_at)
    values ($1::text, $2::text, to_timestamp($3::float8))
    on conflict (issuer, jti) do nothing
    returning true
)
select (select true from fresh),
       (select case when gaps = '[]' then rev else gaps -> 0 ->> 'after' end from repo where did = $1::text)

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
