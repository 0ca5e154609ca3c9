-- Statements for storage/reader.py: numbered parameters, prepared once per connection.

-- name: tallies
-- Cases by the month in which they were opened and decided, and by how they came; and what was done, of the actions $1.
select to_char(opened_at, 'YYYY-MM'), 'opened', opened_by, null::text, count(*), null::float8
from moderation_case group by 1, 3
union all
select to_char(resolved_at, 'YYYY-MM'), 'decided', opened_by, resolution, count(*), null
from moderation_case where state = 'resolved' group by 1, 3, 4
union all
select to_char(at, 'YYYY-MM'), 'done', action, null, count(*), null
from moderation_event where action = any($1::text[]) group by 1, 3
union all
select to_char(resolved_at, 'YYYY-MM'), 'took', '', null, count(*),
       percentile_cont(0.5) within group (order by extract(epoch from resolved_at - opened_at))
from moderation_case where state = 'resolved' group by 1
