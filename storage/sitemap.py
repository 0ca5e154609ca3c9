"""Reads of what search engines may look at."""

from __future__ import annotations

from dataclasses import dataclass

from storage.queries import load
from storage.reader import Reads

STATEMENTS = {f"sitemap_{name}": sql for name, sql in load("sitemap").items()}


@dataclass(frozen=True, slots=True)
class Mapped:
    """A track. `day`: as YYYY-MM-DD; `handle` None: its artist has none that holds; `album`: its title."""

    id: int
    day: str
    handle: str | None
    album: str | None


async def newest(reads: Reads, limit: int) -> list[Mapped]:
    """Newest first."""
    rows = await reads.fetch("sitemap_newest", b"%d" % limit)
    found: list[Mapped] = []
    for i in range(rows.count):
        id, at, handle, album = (rows.cell(i, n) for n in range(4))
        found.append(
            Mapped(
                int(id or 0),
                (at or b"")[:10].decode(),
                None if handle is None else handle.decode(),
                None if album is None else album.decode(),
            )
        )
    return found
