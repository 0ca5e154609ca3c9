"""Table `link_check`: how many accounts like a track, by our count and by another index of links."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from storage.postgres import Connection
from storage.queries import load

_SQL = load("link_checks")


@dataclass(frozen=True, slots=True)
class Liked:
    """A track that somebody likes; `id` of track_uri."""

    id: int
    uri: str


async def next_ones(conn: Connection, *, limit: int) -> list[Liked]:
    """Tracks to ask about next."""
    async with conn.cursor(row_factory=class_row(Liked)) as cursor:
        await cursor.execute(_SQL["next"], {"limit": limit})
        return await cursor.fetchall()


async def note(conn: Connection, track_id: int, theirs: int) -> int:
    """Write down what they count beside what we count now; returns ours."""
    row = await (await conn.execute(_SQL["note"], {"track_id": track_id, "theirs": theirs})).fetchone()
    return 0 if row is None else row[0]


async def tidy(conn: Connection) -> None:
    """Forget tracks that nobody likes any more."""
    await conn.execute(_SQL["tidy"])
