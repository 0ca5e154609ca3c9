-- What an account's host does not have of what another said of it: of one that the account has left, as a rule.

alter table repo
    add column forked_rev  text;        -- commits up to here may be of a host that was left: only whole reads count
update repo
set gaps = (select jsonb_agg(gap || '{"forked": false}') from jsonb_array_elements(gaps) gap)
where gaps <> '[]';

-- Whom a resync can read now, and who is in doubt: of a million that were just found neither is anybody.
create index repo_resync_ready on repo (resync_due)
    where resync_due is not null and active and pds is not null and signing_key is not null;
create index repo_doubtful on repo (id) where checked_at is null and resync_due is null;
drop index repo_checked_at;
