-- name: get
-- Where a source was left.
select seq from source_cursor where url = %(url)s

-- name: save
-- In the transaction of the effects, and never backwards: frames may come out of order. The time says when this
-- was last known to be all.
insert into source_cursor (url, seq) values (%(url)s, %(seq)s)
on conflict (url) do update set seq = greatest(source_cursor.seq, excluded.seq), updated_at = now()

-- name: forget
-- By a person's wish: the host lost its history, or another host answers under the same name.
delete from source_cursor where url = %(url)s
