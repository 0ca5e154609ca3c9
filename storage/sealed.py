"""Every column that holds something sealed: credentials, flows, keys that we sign with. For those who change
the keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from storage.postgres import Connection
from storage.queries import load

_SQL = load("sealed")
_PAGE = 500

Place = Literal["session", "flow", "client_key", "label_key"]


@dataclass(frozen=True, slots=True)
class Sealed:
    place: Place
    key: int | bytes | str
    secret: bytes


async def every(conn: Connection) -> AsyncIterator[Sealed]:
    """All that is sealed, as it was when each page of it was read."""
    for key, secret in await (await conn.execute(_SQL["client_keys"])).fetchall():
        yield Sealed("client_key", key, secret)
    for key, secret in await (await conn.execute(_SQL["flows"])).fetchall():
        yield Sealed("flow", key, secret)
    for key, secret in await (await conn.execute(_SQL["label_keys"])).fetchall():
        yield Sealed("label_key", key, secret)
    after = 0
    while True:
        cursor = await conn.execute(_SQL["sessions"], {"after": after, "limit": _PAGE})
        rows = await cursor.fetchall()
        for key, secret in rows:
            yield Sealed("session", key, secret)
        if len(rows) < _PAGE:
            return
        after = rows[-1][0]


async def put(conn: Connection, sealed: Sealed, secret: bytes) -> bool:
    """Replace it, if it is still what was read."""
    params = {"key": sealed.key, "old": sealed.secret, "new": secret}
    return (await conn.execute(_SQL[f"put_{sealed.place}"], params)).rowcount == 1
