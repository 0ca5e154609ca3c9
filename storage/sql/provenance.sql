-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: record
-- One record that may be shown, the CAR slice of the commit that wrote this version, if there is one, and
-- who else can prove it.
select c.block, p.car, r.pds
  from repo r
  join profile v on v.repo_id = r.id and not v.hidden
  join record c on c.repo_id = r.id
  left join commit_proof p on p.repo_id = c.repo_id and p.rev = c.rev and c.verified
 where r.did = $1::text and c.collection = $2::text and c.rkey = $3::text and c.cid is not null
   and c.taken_down is null

-- name: repo
-- All about one account in the members of its answer; Postgres writes the JSON, as nothing else of it is
-- needed. Why we took something down ourselves stays with us.
select json_strip_nulls(json_build_object(
    'did', r.did,
    'handle', r.handle,
    'pds', r.pds,
    'state', r.state,
    'rev', r.rev,
    'data', r.data,
    'active', r.active and r.taken_down is null,
    'status', case when r.taken_down is not null then 'takendown'
                   when not r.active then coalesce(r.status, 'deactivated') end,
    'firstSeenAt', to_char(r.first_seen_at, $3::text),
    'lastSeenAt', to_char(r.last_seen_at, $3::text),
    'checkedAt', to_char(r.checked_at, $3::text),
    'records', coalesce((select json_agg(json_build_object(
                                    'collection', c.collection, 'count', c.n, 'unverified', c.unverified)
                                order by c.collection)
                           from (select collection, count(*) n, count(*) filter (where not verified) unverified
                                   from record where repo_id = r.id and cid is not null and taken_down is null
                                  group by collection) c), '[]'),
    'gaps', coalesce((select json_agg(json_build_object('after', g ->> 'after', 'until', g ->> 'until'))
                        from jsonb_array_elements(r.gaps) g), '[]'),
    'resync', json_build_object('dueAt', to_char(r.resync_due, $3::text), 'tries', r.resync_tries,
                                'error', r.resync_error),
    'account', json_build_object('dueAt', to_char(r.account_due, $3::text), 'tries', r.account_tries),
    'identity', json_build_object('dueAt', to_char(r.identity_due, $3::text), 'tries', r.identity_tries),
    'rejected', (select count(*) from rejected_event e where e.did = r.did),
    'decisions', coalesce((select json_agg(json_build_object(
                                      'at', to_char(d.at, $3::text), 'kind', d.kind, 'outcome', d.outcome,
                                      'reason', case when d.kind in ('takedown', 'listing') then 'our own decision'
                                                     else d.reason end,
                                      'source', d.source, 'seq', d.seq) order by d.id desc)
                             from (select * from decision where did = r.did
                                    order by id desc limit $2::int) d), '[]')))
  from repo r
 where r.did = $1::text or r.handle = $1::text
