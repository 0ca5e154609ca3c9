-- Statements of table `preference`; those with numbered parameters are for storage/reader.py.

-- name: of
-- What an account chose, and when it accepted the terms.
select chosen, terms_accepted_at from preference where did = $1::text

-- name: allows_comments
-- What an artist chose about comments; null, or no row: nothing.
select (chosen -> 'allow_comments')::boolean from preference where did = $1::text

-- name: put
-- Change what is named and leave the rest, in one statement: what two devices change at once is all kept. No row
-- comes back where `ui_settings` would grow beyond what it may, nor of who asked to be forgotten since they were let in.
insert into preference as p (did, chosen)
select %(did)s, %(chosen)s::jsonb || jsonb_build_object('ui_settings', %(ui)s::jsonb)
 where not exists (select from account_deletion where did = %(did)s and finished_at is null)
   and not exists (select from forgotten where did_hash = sha256(convert_to(%(did)s, 'UTF8')))
on conflict (did) do update
set chosen = p.chosen || %(chosen)s::jsonb
             || jsonb_build_object('ui_settings', coalesce(p.chosen -> 'ui_settings', '{}') || %(ui)s::jsonb),
    updated_at = now()
where octet_length((coalesce(p.chosen -> 'ui_settings', '{}') || %(ui)s::jsonb)::text) <= %(max_bytes)s
returning chosen, terms_accepted_at

-- name: accept_terms
-- The first time counts. Likewise.
insert into preference as p (did, terms_accepted_at)
select %(did)s, now()
 where not exists (select from account_deletion where did = %(did)s and finished_at is null)
   and not exists (select from forgotten where did_hash = sha256(convert_to(%(did)s, 'UTF8')))
on conflict (did) do update
set terms_accepted_at = coalesce(p.terms_accepted_at, now()), updated_at = now()
returning terms_accepted_at

-- name: erase
-- Of an account that is deleted.
delete from preference where did = %(did)s
