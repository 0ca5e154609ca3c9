-- Our own decision about one record: it leaves the tables that are made of records, and its block stays.
alter table record
    add column taken_down text,     -- why; stays over updates, deletes and new versions
    add column number bigint;       -- what its comment or list was called, and is again once it is restored
create index record_taken_down on record (repo_id, collection, rkey) where taken_down is not null;
