-- name: health
-- How the index as a whole is doing, as one JSON object; no parameter, so that either driver may ask. Ages in
-- seconds. What waits for its identity, or is out of sight, is not overdue for a resync.
select json_build_object(
    'states', coalesce((select json_object_agg(state, n)
                          from (select state, count(*) n from repo group by state) s), '{}'),
    'hidden', (select count(*) from profile where hidden),
    'resync_due', (select count(*) from repo where resync_due <= now() and active),
    'resync_waiting', (select count(*) from repo
                        where resync_due <= now() and active and (pds is null or signing_key is null)),
    'resync_late_s', (select extract(epoch from now() - min(resync_due)) from repo
                       where resync_due <= now() and active and pds is not null and signing_key is not null),
    'accounts_due', (select count(*) from repo where account_due <= now()),
    'accounts_late_s', (select extract(epoch from now() - min(account_due)) from repo where account_due <= now()),
    'identities_due', (select count(*) from repo where identity_due <= now()),
    'identities_late_s', (select extract(epoch from now() - min(identity_due)) from repo
                           where identity_due <= now()),
    'failing', coalesce((select json_agg(f order by f.repos desc, f.host)
                           from (select coalesce(pds, 'unknown') as host, count(*) as repos, min(did) as did,
                                        max(resync_error) as error
                                   from repo where state = 'error'
                                  group by pds order by count(*) desc, pds limit 10) f), '[]'),
    'rejected', coalesce((select json_object_agg(reason, n)
                            from (select reason, count(*) n from rejected_event group by reason) r), '{}'),
    'stuck', (select count(*) from rejected_event where next_attempt_at is null),
    'sources', coalesce((select json_agg(json_build_object(
                                    'url', url, 'seq', seq, 'age_s', extract(epoch from now() - updated_at))
                                order by url) from source_cursor), '[]'),
    'head', (select seq from outbox_head),
    'quiet_s', (select extract(epoch from now() - at) from outbox order by last_seq desc limit 1),
    'sealed', (select coalesce(max(last_seq), 0) from archive_segment),
    'unsealed_s', (select extract(epoch from now() - at) from outbox
                    where last_seq > (select coalesce(max(last_seq), 0) from archive_segment)
                    order by last_seq limit 1),
    'sweep', (select json_build_object(
                         'age_s', extract(epoch from now() - finished_at), 'checked', checked,
                         'in_step', in_step, 'healed', healed, 'unreachable', unreachable)
                from reconcile_run where finished_at is not null and scope = 'all' order by id desc limit 1),
    'unproven', (select json_build_object('records', count(*), 'rev', min(r.rev), 'now_s', extract(epoch from now()))
                   from record r join repo p on p.id = r.repo_id where not r.verified and p.active),
    'pulse', (select json_build_object(
                         'silent_s', extract(epoch from now() - p.last_at), 'records', p.records,
                         'over_s', extract(epoch from now() - greatest(p.first, now() - interval '7 days')),
                         'behind', (select coalesce(sum(behind), 0) from reconcile_run where started_at > p.last_at))
                from (select max(last_at) filter (where records > 0) as last_at, min(hour) as first,
                             coalesce(sum(records) filter (where hour > now() - interval '7 days'), 0) as records
                        from pulse) p
               where p.first is not null),
    'cases', json_build_object(
        'open', (select count(*) from moderation_case where state = 'open'),
        'oldest_s', (select extract(epoch from now() - min(opened_at)) from moderation_case where state = 'open'),
        'late_notices', (select count(*) from moderation_notice where state = 'received' and due < now())),
    'labelers', coalesce((select json_agg(json_build_object(
                                     'did', did, 'seq', seq, 'refused', refused,
                                     'age_s', extract(epoch from now() - heard_at)) order by did)
                            from foreign_labeler), '[]'),
    'mirrored', json_build_object(
        'bytes', (select coalesce(sum(b.bytes), 0)::bigint from blob b
                   where b.id in (select stream_id from track_media where original_id is null)),
        'over', (select count(*) from mirror where error like 'over the limit: %')),
    'links', (select json_build_object(
                         'tracks', count(*), 'differ', count(*) filter (where ours <> theirs),
                         'age_s', extract(epoch from now() - max(checked_at)),
                         'worst', coalesce((select json_agg(w) from (
                                      select x.uri, c.ours, c.theirs
                                        from link_check c join track_uri x on x.id = c.track_id
                                       where c.ours <> c.theirs
                                       order by abs(c.ours - c.theirs) desc, x.uri limit 10) w), '[]'))
                from link_check having count(*) > 0),
    'jobs', json_build_object(
        'counts', coalesce((select json_agg(c order by c.kind, c.state)
                              from (select kind, state, count(*) as jobs, sum(attempts - uncounted) as attempts
                                      from job group by kind, state) c), '[]'),
        'late_s', (select extract(epoch from now() - min(greatest(t.scheduled_at, job.updated_at)))
                     from procrastinate.procrastinate_jobs t join job on job.id = t.queueing_lock::uuid
                    where t.status = 'todo' and (t.scheduled_at is null or t.scheduled_at <= now())
                      and job.lane not in ('mirror', 'later', 'scan')),
        'workers', (select count(*) from procrastinate.procrastinate_workers
                     where last_heartbeat > now() - interval '10 seconds'),
        'failing', coalesce((select json_agg(f order by f.kind)
                               from (select distinct on (kind) kind, state, error from job
                                      where did is null and finished_at is not null and lane <> 'mirror'
                                      order by kind, created_at desc) f
                              where f.state = 'failed'), '[]')))
