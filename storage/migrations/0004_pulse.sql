-- Whether a source is blind: how many records of ours came in each hour, and what a sweep found missing.

create table pulse (
    hour     timestamptz primary key,
    records  bigint not null,
    last_at  timestamptz not null,      -- when the last of them came
    seq      bigint not null            -- of the outbox, up to which this counts
);

alter table reconcile_run
    add column scope   text not null default 'all',     -- all repos, or some that were named or in doubt
    add column behind  int not null default 0;          -- of those healed: commits that never came
