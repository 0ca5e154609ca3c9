-- What a sound is found by: those words of its fingerprint that were picked (appview/moderation/terms.py). Of a sound
-- and its rendition only the former.
create table fingerprint (
    sound_id  bigint primary key references sound on delete cascade,
    terms     int[] not null
);
-- Without a list of what is to be added yet: a query would read all of that.
create index fingerprint_terms on fingerprint using gin (terms) with (fastupdate = off);
