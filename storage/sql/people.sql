-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: actor
-- An account that can be shown, by DID or handle.
select r.id, r.did
  from repo r
  join profile p on p.repo_id = r.id and not p.hidden
 where r.did = $1::text or r.handle = $1::text

-- name: dids
-- The DIDs of accounts by handle, to turn handles in addresses into what is stored.
select handle, did from repo where handle = any ($1::text[])

-- name: key
-- What an account signs with, hidden or not: it may be hidden by a host that it has left.
select signing_key from repo where did = $1::text

-- name: cards
-- How these accounts look, as far as they can be shown.
select p.card
  from repo r
  join profile p on p.repo_id = r.id and not p.hidden
 where r.did = any ($1::text[])

-- name: profiles
-- Accounts by DID or handle, in the order asked for, with what they have that can be shown.
select p.card, p.bio, p.created_at,
       (select count(*) from track t where t.repo_id = p.repo_id),
       (select count(distinct l.track_id)
          from "like" l
          join track t on t.id = l.track_id
          join profile o on o.repo_id = t.repo_id and not o.hidden
         where l.repo_id = p.repo_id),
       (select count(*) from list i where i.repo_id = p.repo_id)
  from (select r.id, min(u.place) place
          from unnest($1::text[]) with ordinality u(actor, place)
          join repo r on r.did = u.actor or r.handle = u.actor
         group by r.id) k
  join profile p on p.repo_id = k.id and not p.hidden
 order by k.place

-- name: search
-- Accounts whose handle and display name answer the query $1, after rank $2 and repo $3. Candidates as in feed.sql:
-- those who have all of the rare words of $5 (null: there are none), and, if $6, the newest.
select card, bio, created_at, a, b from (
    select p.card, p.bio, p.created_at, ts_rank(p.search, to_tsquery('simple', $1::text), 2) a, p.repo_id b
      from ((select rare.repo_id
               from (select repo_id, search from profile
                      where search @@ to_tsquery('simple', $5::text) and not hidden
                      limit 3000) rare
              where rare.search @@ to_tsquery('simple', $1::text))
            union
            (select newest.repo_id
               from (select repo_id, search from profile
                      where $6::boolean and not hidden
                      order by repo_id desc
                      limit 5000) newest
              where newest.search @@ to_tsquery('simple', $1::text)
              limit 1000)) found
      cross join lateral (select * from profile where repo_id = found.repo_id limit 1) p) hit
 where (a, b) < ($2::real, $3::int)
 order by a desc, b desc
 limit $4::int

-- name: search_like
-- For queries that find nobody otherwise: names spelled like $1, among the newest accounts, since no index
-- helps. Needs pg_trgm.
select card, bio, created_at, a, b from (
    select p.card, p.bio, p.created_at, p.repo_id b,
           greatest(word_similarity($1::text, lower(coalesce(p.display_name, ''))),
                    word_similarity($1::text, coalesce(r.handle, ''))) a
      from (select * from profile where not hidden order by repo_id desc limit 5000) p
      join repo r on r.id = p.repo_id) hit
 where a >= 0.4 and (a, b) < ($2::real, $3::int)
 order by a desc, b desc
 limit $4::int
