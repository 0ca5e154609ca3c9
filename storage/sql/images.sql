-- name: add
-- Who draws the same image twice keeps the rendition that there was.
insert into image_rendition (blob_id, width, height, rendition_id)
values (%(image)s, %(width)s, %(height)s, %(rendition)s) on conflict do nothing returning 1

-- name: of
-- For `srcset`, a page of images at once.
select r.blob_id, width, height, encode(b.sha256, 'hex') as sha256
from image_rendition r join blob b on b.id = r.rendition_id
where r.blob_id = any(%(images)s) order by r.blob_id, width
