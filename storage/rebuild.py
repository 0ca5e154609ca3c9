"""Projections computed again beside the real ones, compared, and put in their place.

Inside one transaction temporary tables take the projections' names, so that the statements which
always write them fill the shadows instead: there is no second way to compute a row.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.postgres import Connection
from storage.queries import load

_SQL = load("rebuild")
SHADOWED = ("track", "track_tag", "like", "comment", "list", "list_item", "profile")
COMPARED = ("track", "track_tag", "like", "comment", "list", "profile", "track_stat")
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Difference:
    """How a table differed from what its records say; `examples` name a few of the rows."""

    table: str
    missing: int
    extra: int
    wrong: int
    examples: tuple[str, ...]


async def begin(conn: Connection) -> None:
    """Stop writers and hide the projections behind empty shadows, until the transaction ends."""
    await conn.execute(_SQL["freeze"])
    for table in SHADOWED:
        await conn.execute(_SQL[f"shadow_{table}"])
    await conn.execute(_SQL["start_profile"])


async def differences(conn: Connection) -> list[Difference]:
    """Compare shadows with the real tables; equal ones are left out. Call once all rows are in."""
    await conn.execute(_SQL["recount"])
    found: list[Difference] = []
    for table in COMPARED:
        rows = await (await conn.execute(_SQL[f"differ_{table}"])).fetchall()
        if rows:
            missing = sum(absent for _, absent, _ in rows)
            extra = sum(surplus for _, _, surplus in rows)
            examples = tuple(key for key, _, _ in rows[:EXAMPLES])
            found.append(Difference(table, missing, extra, len(rows) - missing - extra, examples))
    return found


async def replace(conn: Connection) -> None:
    """Make the real tables equal to the shadows. Call after `differences`."""
    for table in SHADOWED:
        await conn.execute(_SQL[f"replace_{table}"])
        await conn.execute(_SQL[f"fill_{table}"])
    await conn.execute(_SQL["replace_track_stat"])
