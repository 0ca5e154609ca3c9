-- Statements for DuckDB, over Parquet segments. Parameters are named.

-- name: utc
-- Times are shown as they are meant.
set TimeZone = 'UTC'

-- name: seal
-- Lines of JSON become one sorted file; blocks come as base64, and are bytes again.
copy (
    select seq, make_timestamptz(received_us) as received_at, kind, source, source_seq, did, rev, collection,
           rkey, action, cid, from_base64(block) as block, verdict, reason, detail
    from read_json($lines, format = 'newline_delimited', maximum_object_size = 268435456, columns = {
        seq: 'BIGINT', received_us: 'BIGINT', kind: 'VARCHAR', source: 'VARCHAR', source_seq: 'BIGINT',
        did: 'VARCHAR', rev: 'VARCHAR', collection: 'VARCHAR', rkey: 'VARCHAR', action: 'VARCHAR',
        cid: 'VARCHAR', block: 'VARCHAR', verdict: 'VARCHAR', reason: 'VARCHAR', detail: 'VARCHAR'})
    order by seq
) to $file (format parquet, compression zstd)

-- name: check
-- What was written is read once more before anybody relies on it.
select count(*), min(seq), max(seq), count(distinct seq) from read_parquet($files)

-- name: empty
-- An archive without a segment has the same columns.
create table event (
    seq bigint, received_at timestamptz, kind varchar, source varchar, source_seq bigint, did varchar,
    rev varchar, collection varchar, rkey varchar, action varchar, cid varchar, block blob, verdict varchar,
    reason varchar, detail varchar)

-- name: allow
-- A question reads segments and no other file. (Before the outside is closed, which the next one does.)
set allowed_paths = $files

-- name: lock
-- In this order: nothing can be set afterwards.
set enable_external_access = false; set lock_configuration = true

-- name: dump
-- Sorted as people ask: by collection, then by account.
copy (
    select did, collection, rkey, cid, rev, "json"::json as "json", make_timestamptz(indexed_us) as indexed_at
    from read_json($lines, format = 'newline_delimited', maximum_object_size = 268435456, columns = {
        did: 'VARCHAR', collection: 'VARCHAR', rkey: 'VARCHAR', cid: 'VARCHAR', rev: 'VARCHAR',
        json: 'VARCHAR', indexed_us: 'BIGINT'})
    order by collection, did, rkey
) to $file (format parquet, compression zstd)

-- name: mentions
-- Entries about an account up to a seq, numbers of its lists and of its tracks that are not kept, and what nobody
-- could read and has its name in it.
select count(*) from read_parquet($files)
where (did = $did
        or kind = 'name' and starts_with(detail ->> 'uri', 'at://' || $did || '/')
           and not coalesce(list_contains($kept::bigint[], (detail ->> 'id')::bigint), false)
        or did is null and block is not null and contains(hex(block), hex(encode($did))))
       and seq <= $upto

-- name: wipe
-- The same file without them: their places stay, so that seqs have no hole.
copy (
    select seq, received_at, if(gone, 'erased', kind) as kind, if(gone, '', source) as source,
           if(gone, null, source_seq) as source_seq, if(gone, null, did) as did, if(gone, null, rev) as rev,
           if(gone, null, collection) as collection, if(gone, null, rkey) as rkey, if(gone, null, action) as action,
           if(gone, null, cid) as cid, if(gone, null, block) as block, if(gone, null, verdict) as verdict,
           if(gone, null, reason) as reason, if(gone, null, detail) as detail
    from (select *, coalesce((did = $did
        or kind = 'name' and starts_with(detail ->> 'uri', 'at://' || $did || '/')
           and not coalesce(list_contains($kept::bigint[], (detail ->> 'id')::bigint), false)
        or did is null and block is not null and contains(hex(block), hex(encode($did))))
       and seq <= $upto, false) as gone
          from read_parquet($old))
    order by seq
) to $new (format parquet, compression zstd)

-- name: dump_mentions
-- Whether a dump has records of an account.
select count(*) from read_parquet($files) where did = $did

-- name: dump_without
-- The same dump without them.
copy (select * from read_parquet($old) where did <> $did order by collection, did, rkey)
to $new (format parquet, compression zstd)
