-- name: get
-- One, locked until the transaction ends.
select did, name, cover_id, description, on_profile from list_look
where did = %(did)s and name = %(name)s for update

-- name: begin
-- So that there is one to be locked.
insert into list_look (did, name) values (%(did)s, %(name)s) on conflict do nothing

-- name: cover
-- Another cover, or none.
update list_look set cover_id = %(cover_id)s where did = %(did)s and name = %(name)s

-- name: describe
-- Other words, or none.
insert into list_look (did, name, description) values (%(did)s, %(name)s, %(description)s)
on conflict (did, name) do update set description = excluded.description

-- name: show
-- Whether it is shown with its owner's profile.
insert into list_look (did, name, on_profile) values (%(did)s, %(name)s, %(on_profile)s)
on conflict (did, name) do update set on_profile = excluded.on_profile

-- name: take
-- One that goes, or gets another name.
delete from list_look where did = %(did)s and name = %(name)s returning did, name, cover_id, description, on_profile

-- name: put
-- Under its new name, unless there is one.
insert into list_look (did, name, cover_id, description, on_profile)
values (%(did)s, %(name)s, %(cover_id)s, %(description)s, %(on_profile)s)
on conflict do nothing returning 1

-- name: of
-- All of one account.
select name from list_look where did = %(did)s order by name for update

-- name: left_behind
-- Of lists that are gone, and of albums that no track names any more: not at once, since one may be on its way.
select k.did, k.name from list_look k
left join repo r on r.did = k.did
where k.created_at < now() - make_interval(secs => %(age_s)s)
  and not exists (select from list l where l.repo_id = r.id and l.rkey = k.name)
  and not exists (select from track t
                  where t.album_id = case when k.name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                          then k.name::uuid end)
order by k.created_at limit %(limit)s
for update of k skip locked
