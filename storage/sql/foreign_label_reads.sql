-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: foreign_labels_on
-- What these labelers ($2) say now of these URIs ($1).
select jsonb_build_object('src', src, 'uri', uri, 'val', val, 'cid', cid, 'cts', cts, 'exp', exp)::text
  from foreign_label
 where uri = any ($1::text[]) and src = any ($2::text[]) and not neg and (ends_at is null or ends_at > now())
 order by said_at, val
