"""Table `discovery`: how far each enumeration of accounts has come, so that a crash goes on where it was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lexicons.syntax import Did
from storage.postgres import Connection
from storage.queries import load

_SQL = load("discovery")


@dataclass(frozen=True, slots=True)
class Begun:
    cursor: str | None


async def begin(conn: Connection, source: str, collection: str, *, every_s: float) -> Begun | None:
    """Where to go on with this enumeration, None if it is not due: it ended less than `every_s` ago."""
    params = {"source": source, "collection": collection, "every_s": every_s}
    row = await (await conn.execute(_SQL["begin"], params)).fetchone()
    return None if row is None else Begun(row[0])


async def advance(conn: Connection, source: str, collection: str, *, cursor: str | None, found: int) -> None:
    """A page was taken in; `cursor` None: it was the last."""
    params = {"source": source, "collection": collection, "cursor": cursor, "found": found}
    await conn.execute(_SQL["advance"], params)


async def expire(conn: Connection) -> None:
    """Have everybody listed again soon: accounts may have come whose first record nobody told us of."""
    await conn.execute(_SQL["expire"])


async def forget(conn: Connection, source: str, collection: str) -> None:
    """This host has no such list."""
    await conn.execute(_SQL["forget"], {"source": source, "collection": collection})


async def is_live(conn: Connection) -> bool:
    """Whether somebody follows the stream already, so that what is enumerated now is not missed later."""
    row = await (await conn.execute(_SQL["is_live"])).fetchone()
    return row is not None and bool(row[0])


async def unknown(conn: Connection, dids: Iterable[Did]) -> list[Did]:
    """Those that we do not track."""
    cursor = await conn.execute(_SQL["unknown"], {"dids": sorted(set(dids))})
    return [Did(did) for (did,) in await cursor.fetchall()]
