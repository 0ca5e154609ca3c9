"""Table `fingerprint`: by which terms a sound is found, an inverted index of Postgres (GIN).

It is derived from `sound.fingerprint` and may be emptied at any time: a sweep fills it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from storage.postgres import Connection
from storage.queries import load

_SQL = load("fingerprints")

MOST_SOUNDS = 2000  # that may have a term before it counts as nobody's


@dataclass(frozen=True, slots=True)
class Candidate:
    """A track whose sound has `shared` of the terms that were asked for."""

    sound_id: int
    shared: int
    did: str
    rkey: str
    fingerprint: bytes


async def put(conn: Connection, sound_id: int, terms: Sequence[int]) -> None:
    """Have a sound found from when the transaction ends; again is nothing."""
    await conn.execute(_SQL["put"], {"sound_id": sound_id, "terms": list(terms)})


async def unindexed(conn: Connection, *, limit: int) -> list[tuple[int, bytes]]:
    """Sounds that are not found yet, with their fingerprints."""
    cursor = await conn.execute(_SQL["unindexed"], {"limit": limit})
    return [(int(row[0]), bytes(row[1])) for row in await cursor.fetchall()]


async def candidates(
    conn: Connection, terms: Sequence[int], *, besides: str, least: int, limit: int
) -> list[Candidate]:
    """Tracks of anybody but `besides` with at least so many of these terms, the most first."""
    params = {
        "terms": list(terms), "besides": besides, "least": least, "limit": limit, "most_sounds": MOST_SOUNDS
    }  # fmt: skip
    async with conn.cursor(row_factory=class_row(Candidate)) as cursor:
        await cursor.execute(_SQL["candidates"], params)
        return await cursor.fetchall()
