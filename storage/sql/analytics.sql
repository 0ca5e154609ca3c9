-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: totals
-- What an account's ($1) tracks came to: plays and tracks, the most played, the most liked, and how long they are
-- together. Zeros for who is hidden.
with shown as materialized (
    select t.id, t.title, s.plays, s.likes,
           substring(t.card from '"audio":\{[^}]*"durationS":([0-9]{1,9})[,}]')::bigint as duration_s
      from repo r
      join profile p on p.repo_id = r.id and not p.hidden
      join track t on t.repo_id = r.id
      join track_stat s on s.id = t.id
     where r.did = $1::text
)
select (select coalesce(sum(plays), 0) from shown), (select count(*) from shown),
       played.id, played.title, played.plays, liked.id, liked.title, liked.likes,
       (select coalesce(sum(duration_s), 0) from shown)
  from (select) one
  left join (select * from shown order by plays desc, id desc limit 1) played on true
  left join (select * from shown where likes > 0 order by likes desc, id desc limit 1) liked on true

-- name: days
-- Plays of an account's ($1) tracks on each of the days from $2 to $3, as far as they are rolled up.
select to_char(d.day, 'YYYY-MM-DD'), coalesce(n.plays, 0)
  from generate_series($2::timestamp, $3::timestamp, interval '1 day') d (day)
  left join (
      select p.day, sum(p.plays) as plays
        from repo r
        join track t on t.repo_id = r.id
        join play_day p on p.track_id = t.id and p.day between $2::date and $3::date
       where r.did = $1::text
       group by p.day) n on n.day = d.day::date
 order by 1
