-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: of
-- Accounts by DID or handle ($1), in the order asked for, with the profile record of theirs in collection $2 and
-- what they chose to show.
select r.did, p.card, p.bio, p.created_at, r.first_seen_at, w.rev,
       (c.chosen -> 'show_liked_on_profile')::boolean, c.chosen ->> 'support_url'
  from (select o.id, min(u.place) place
          from unnest($1::text[]) with ordinality u(actor, place)
          join repo o on o.did = u.actor or o.handle = u.actor
         group by o.id) k
  join repo r on r.id = k.id
  join profile p on p.repo_id = k.id and not p.hidden
  left join record w on w.repo_id = k.id and w.collection = $2::text and w.rkey = 'self' and w.cid is not null
       and w.taken_down is null
  left join preference c on c.did = r.did
 order by k.place
