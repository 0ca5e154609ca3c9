-- What an account's host does not have of what another said of it: of one that the account has left, as a rule.

alter table repo
    add column forked_rev  text;        -- commits up to here may be of a host that was left: only whole reads count
update repo
set gaps = (select jsonb_agg(gap || '{"forked": false}') from jsonb_array_elements(gaps) gap)
where gaps <> '[]';
