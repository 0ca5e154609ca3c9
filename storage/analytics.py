"""Reads about how often an account's tracks are played and liked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from storage.queries import load
from storage.reader import Reads

_SQL = load("analytics")

STATEMENTS = {f"analytics_{name}": sql for name, sql in _SQL.items()}


@dataclass(frozen=True, slots=True)
class Item:
    """A track; `count` of its plays, or of its likes."""

    id: int
    title: str
    count: int


@dataclass(frozen=True, slots=True)
class Totals:
    plays: int
    tracks: int
    most_played: Item | None
    most_liked: Item | None
    duration_s: int


async def totals(reads: Reads, did: str) -> Totals:
    """Of the tracks that are in sight; nothing of an account that is hidden, or unknown."""
    cell = (await reads.fetch("analytics_totals", did.encode())).cell

    def item(column: int) -> Item | None:
        id_, title, count = (cell(0, column + offset) for offset in range(3))
        return None if id_ is None else Item(int(id_), (title or b"").decode(), int(count or 0))

    return Totals(int(cell(0, 0) or 0), int(cell(0, 1) or 0), item(2), item(5), int(cell(0, 8) or 0))


async def days(reads: Reads, did: str, first: date, last: date) -> list[tuple[str, int]]:
    """Plays on each day, as of the last roll-up."""
    between = (first.isoformat().encode(), last.isoformat().encode())
    rows = await reads.fetch("analytics_days", did.encode(), *between)
    return [((rows.cell(i, 0) or b"").decode(), int(rows.cell(i, 1) or 0)) for i in range(rows.count)]
