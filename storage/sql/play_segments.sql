-- Statements for DuckDB, over Parquet files of plays. Parameters are named.

-- name: seal
-- Lines become one sorted file.
copy (
    select id, track_id, make_timestamptz(at_us) as at, unhex(listener) as listener
    from read_csv($lines, header = false, columns = {
        id: 'BIGINT', track_id: 'BIGINT', at_us: 'BIGINT', listener: 'VARCHAR'})
    order by id
) to $file (format parquet, compression zstd)

-- name: check
-- What was written is read once more before the rows go.
select count(*), min(id), max(id), count(distinct id) from read_parquet($file)
