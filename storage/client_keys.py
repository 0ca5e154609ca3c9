"""Table `client_key`: what this service signs with as an OAuth client; sealed."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from storage.postgres import Connection
from storage.queries import load

_SQL = load("client_keys")

# Any 64-bit number that no other use of advisory locks here has.
_LOCK_KEY = 0x706C7972_00000005


@dataclass(frozen=True, slots=True)
class ClientKeyRow:
    kid: str
    secret: bytes
    age_s: float


async def every(conn: Connection) -> list[ClientKeyRow]:
    """Newest first."""
    async with conn.cursor(row_factory=class_row(ClientKeyRow)) as cursor:
        await cursor.execute(_SQL["all"])
        return await cursor.fetchall()


async def add(conn: Connection, kid: str, secret: bytes) -> None:
    await conn.execute(_SQL["add"], {"kid": kid, "secret": secret})


async def lock(conn: Connection) -> None:
    """Wait for everybody else who makes a key, until the end of the transaction."""
    await conn.execute(_SQL["lock"], {"key": _LOCK_KEY})
