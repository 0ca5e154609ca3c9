-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: list
-- A list of somebody who can be shown, with the number of its tracks that can be.
select i.id, i.card, p.card,
       (select count(*)
          from list_item m
          join track t on t.id = m.track_id
          join profile o on o.repo_id = t.repo_id and not o.hidden
         where m.list_id = i.id)
  from list i
  join repo r on r.id = i.repo_id
  join profile p on p.repo_id = i.repo_id and not p.hidden
 where r.did = $1::text and i.rkey = $2::text

-- name: lists_of
-- The lists of account $1, newest first after ($2, $3); of one type if $5 is given.
select i.id, i.card, p.card,
       (select count(*)
          from list_item m
          join track t on t.id = m.track_id
          join profile o on o.repo_id = t.repo_id and not o.hidden
         where m.list_id = i.id),
       i.sort_at
  from (select * from (
            select l.id, l.repo_id, l.card, l.sort_at
              from list l
             where l.repo_id = $1::int and (l.sort_at, l.id) < ($2::timestamptz, $3::bigint)
               and ($5::text is null or l.list_type = $5::text)
             order by l.sort_at desc, l.id desc
             limit 101) page
         limit $4::int) i
  join profile p on p.repo_id = i.repo_id and not p.hidden
 order by i.sort_at desc, i.id desc
