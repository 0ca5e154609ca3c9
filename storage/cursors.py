"""Table `source_cursor`: how far each source's events are durably applied. Keyed by URL, since a
seq means nothing on another host (rule A9)."""

from __future__ import annotations

from storage.postgres import Connection
from storage.queries import load

_SQL = load("cursors")


async def get(conn: Connection, url: str) -> int | None:
    row = await (await conn.execute(_SQL["get"], {"url": url})).fetchone()
    return None if row is None else int(row[0])


async def save(conn: Connection, url: str, seq: int) -> None:
    await conn.execute(_SQL["save"], {"url": url, "seq": seq})


async def forget(conn: Connection, url: str) -> None:
    await conn.execute(_SQL["forget"], {"url": url})
