-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: all
-- All of them, and whether we have the bytes ourselves.
select encode(s.sha256, 'hex'), s.did,
       exists (select from blob b where b.area = 'image' and b.sha256 = s.sha256 and b.state = 'published')
  from sensitive_image s
 order by s.sha256, s.did
