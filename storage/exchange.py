"""Table `exchange_token`: sixty seconds in which a frontend may fetch a new session, once."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from storage.postgres import Connection
from storage.queries import load

_SQL = load("exchange")


@dataclass(frozen=True, slots=True)
class Used:
    session_id: int
    browser_hash: bytes | None


async def add(
    conn: Connection, token_hash: bytes, session_id: int, browser_hash: bytes | None, *, life_s: float
) -> None:
    params = {"token_hash": token_hash, "session_id": session_id, "browser_hash": browser_hash}
    await conn.execute(_SQL["add"], params | {"life_s": life_s})


async def use(conn: Connection, token_hash: bytes) -> Used | None:
    """What the token stands for, for the first and only time, and not after its end."""
    async with conn.cursor(row_factory=class_row(Used)) as cursor:
        await cursor.execute(_SQL["use"], {"token_hash": token_hash})
        return await cursor.fetchone()


async def prune(conn: Connection) -> int:
    return (await conn.execute(_SQL["prune"])).rowcount
