-- How a case is decided: what for, the notices of those who claim a right, and the count of violations.

alter table moderation_case
    add column reason text,             -- a code: what it is opened for, then what it was resolved for
    drop constraint moderation_case_opened_by_check,
    add constraint moderation_case_opened_by_check
        check (opened_by in ('scan', 'report', 'notice', 'appeal', 'hand', 'strikes'));
create index moderation_case_subject on moderation_case (subject, id desc);
create index moderation_case_strikes on moderation_case (did)
    where resolution = 'violation' and reason = 'copyright';

alter table copyright_scan
    drop constraint copyright_scan_resolution_check,
    add constraint copyright_scan_resolution_check
        check (resolution in ('pending', 'violation', 'false_positive', 'original_artist', 'no_action'));

-- Somebody claims that a subject is theirs, and what its author answers. Nothing here is shown in public.
create table moderation_notice (
    id           bigint generated always as identity primary key,
    case_id      bigint not null references moderation_case,
    subject      text not null,
    did          text not null,         -- whose the subject is
    claimant     text not null,         -- who claims it, and how they are reached
    statement    text not null,         -- in the claimant's words
    state        text not null default 'received'
                 check (state in ('received', 'upheld', 'rejected', 'countered', 'sued', 'restored')),
    received_at  timestamptz not null,
    answer       text,                  -- the counter-notice, in its author's words
    answered_at  timestamptz,
    due          timestamptz,           -- received: when it is to be decided; countered: when the subject comes back
    check ((state in ('received', 'countered')) = (due is not null)),
    check ((answer is null) = (answered_at is null))
);
create index moderation_notice_subject on moderation_notice (subject, id);
create index moderation_notice_due on moderation_notice (due) where due is not null;
