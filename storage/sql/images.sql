-- name: add
-- Who draws the same image twice keeps the rendition that there was.
insert into image_rendition (blob_id, width, height, rendition_id)
values (%(image)s, %(width)s, %(height)s, %(rendition)s) on conflict do nothing returning 1

-- name: of
-- For `srcset`, a page of images at once.
select r.blob_id, width, height, encode(b.sha256, 'hex') as sha256
from image_rendition r join blob b on b.id = r.rendition_id
where r.blob_id = any(%(images)s) order by r.blob_id, width

-- name: drawn
-- Renditions of all widths below this one are there.
insert into image_drawn (blob_id, width) values (%(image)s, %(width)s)
on conflict (blob_id) do update set width = excluded.width, error = null, drawn_at = now()

-- name: not_drawn
-- Tried again after some days: what was damaged may have been repaired.
insert into image_drawn (blob_id, error) values (%(image)s, %(error)s)
on conflict (blob_id) do update set width = null, error = excluded.error, drawn_at = now()

-- name: missing
-- Images that somebody owns and that lack a rendition, oldest first. What images alone own are renditions, which
-- need none.
select b.id, encode(b.sha256, 'hex') as sha256, b.bytes
from blob b left join image_drawn d on d.blob_id = b.id
where b.area = 'image' and b.state = 'published'
  and exists (select from blob_owner o where o.blob_id = b.id and o.kind <> 'image')
  and (d.blob_id is null
       or d.error is not null and d.drawn_at < now() - make_interval(days => %(again_days)s)
       or exists (select from unnest(%(widths)s::int[]) w
                   where w < d.width
                     and not exists (select from image_rendition r where r.blob_id = b.id and r.width = w)))
order by b.id limit %(limit)s

-- name: undrawable
-- Those that cannot be drawn, latest first.
select encode(b.sha256, 'hex') as sha256, d.error
from image_drawn d join blob b on b.id = d.blob_id
where d.error is not null order by d.drawn_at desc limit %(limit)s
