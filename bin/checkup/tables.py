"""Tables that are written all the time: whether what they no longer need is removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bin.checkup.verdict import Finding, fail, ok, warn
from indexer.explain import span
from storage import vitals
from storage.postgres import Connection
from storage.vitals import HOT, TUNED, Table

SUBJECT = "tables"
DEAD_PART, DEAD_ROWS = 0.2, 5000
BLOAT_TIMES, BLOAT_BYTES = 4, 64 << 20


async def hot_tables(conn: Connection) -> list[Finding]:
    if not (await vitals.server(conn)).vacuums:
        return [fail(SUBJECT, "autovacuum is off: tables only grow", "set autovacuum = on in Postgres")]
    return verdicts(await vitals.tables(conn))


def verdicts(tables: Sequence[Table]) -> list[Finding]:
    """A finding for each that has something; one for all, if none has."""
    bad = [finding for table in tables for finding in _of(table)]
    gone = [name for name in HOT if name not in {table.name for table in tables}]
    bad += [fail(SUBJECT, f"{name} is not there", "plyr migrate") for name in gone]
    if bad:
        return bad
    dead, rows = sum(table.dead for table in tables), sum(table.live + table.dead for table in tables)
    return [ok(SUBJECT, f"{len(tables)} that are written all the time: {dead:,} of {rows:,} rows are dead")]


def _of(table: Table) -> Iterator[Finding]:
    name = table.name
    if table.off:
        yield fail(
            SUBJECT,
            f"{name} is never vacuumed: autovacuum_enabled is off",
            table.turning_on,
        )
    elif name in TUNED and not table.tuned:
        yield warn(
            SUBJECT,
            f"{name} has lost its autovacuum settings",
            table.tuning,
        )
    if table.dead > max(DEAD_ROWS, DEAD_PART * (table.live + table.dead)):
        since = "never" if table.vacuumed_s is None else f"{span(table.vacuumed_s)} ago"
        text = f"{table.dead:,} of {table.live + table.dead:,} rows of {name} are dead, vacuumed {since}"
        yield warn(SUBJECT, text, f"vacuum analyze {name}; if that removes none, see locks")
    elif table.expected_bytes is not None and table.bytes > max(
        BLOAT_BYTES, BLOAT_TIMES * table.expected_bytes
    ):
        text = f"{name} takes {table.bytes >> 20:,} MiB for rows of some {table.expected_bytes >> 20:,} MiB"
        yield warn(SUBJECT, text, f"vacuum full {name}, in a quiet minute: it locks the table")
