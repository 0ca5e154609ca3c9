"""Table `far_sound`: tracks whose record has an address of its sound, and whether that answers."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from lexicons.syntax import Cid
from storage.postgres import Connection
from storage.queries import load

_SQL = load("far_sounds")


@dataclass(frozen=True, slots=True)
class FarSound:
    """`rest`: what REST shows of the track, in which the address is; `attempts`: that came to nothing."""

    track_id: int
    record_cid: Cid
    attempts: int
    rest: str


async def find(conn: Connection, *, limit: int) -> int:
    """Take note of tracks that have an address since. Returns how many those are."""
    return (await conn.execute(_SQL["find"], {"limit": limit})).rowcount


async def drop_gone(conn: Connection) -> None:
    """Forget about tracks that are no more."""
    await conn.execute(_SQL["drop_gone"])


async def due(conn: Connection, *, limit: int) -> list[FarSound]:
    """Whose addresses are to be asked now, those first that wait longest."""
    async with conn.cursor(row_factory=class_row(FarSound)) as cursor:
        await cursor.execute(_SQL["due"], {"limit": limit})
        return await cursor.fetchall()


async def note(
    conn: Connection, sound: FarSound, url: str | None, error: str | None, *, wait_s: float | None
) -> None:
    """Write down whether the address answers (`error` None), and that it is asked again in `wait_s`; None:
    never for this version of the record, which has nothing to ask."""
    params = {"track_id": sound.track_id, "record_cid": sound.record_cid}
    await conn.execute(_SQL["note"], {**params, "url": url, "error": error, "wait_s": wait_s})
