"""Reads of what search engines may look at."""

from __future__ import annotations

from storage.queries import load
from storage.reader import Cell, Reads

STATEMENTS = {f"sitemap_{name}": sql for name, sql in load("sitemap").items()}

# Of a track: its number, its day as YYYY-MM-DD, the handle of its artist if that holds, its album's title
Mapped = tuple[Cell, Cell, Cell, Cell]


async def newest(reads: Reads, limit: int) -> list[Mapped]:
    """Newest first. There are many, so cells stay the bytes that Postgres wrote."""
    rows = await reads.fetch("sitemap_newest", b"%d" % limit)
    get = rows.cell
    return [(get(i, 0), get(i, 1), get(i, 2), get(i, 3)) for i in range(rows.count)]
