"""The client's signing keys as they are kept: made at the first start, found again by every process.

A new key is published at once and signs only after a while: by then every process has read it, and every
server that kept a copy of our key set has fetched it anew. Old ones go on for the grants that were made with
them.
"""

from __future__ import annotations

from collections.abc import Sequence

from appview.auth.client_keys import ClientKey, ClientKeys
from appview.auth.keyring import KeyRing
from storage import client_keys
from storage.client_keys import ClientKeyRow
from storage.postgres import Connection

SIGNS_AFTER_S = 600.0


async def load(conn: Connection, ring: KeyRing) -> ClientKeys:
    """All keys, the one that signs first. Makes one if there is none. Raises CannotOpen."""
    rows = await client_keys.every(conn)
    if not rows:
        async with conn.transaction():
            await client_keys.lock(conn)
            rows = await client_keys.every(conn)
            if not rows:
                await add(conn, ring)
                rows = await client_keys.every(conn)
    return ClientKeys([ClientKey.load(ring.open(row.secret)) for row in in_order(rows)])


async def add(conn: Connection, ring: KeyRing) -> str:
    """Make a key that will sign soon; its `kid`."""
    key = ClientKey.make()
    await client_keys.add(conn, key.kid, ring.seal(key.secret.encode()))
    return key.kid


def in_order(newest_first: Sequence[ClientKeyRow]) -> list[ClientKeyRow]:
    """The newest that is old enough to sign, or the oldest while none is, then the others."""
    signing = next((row for row in newest_first if row.age_s >= SIGNS_AFTER_S), newest_first[-1])
    return [signing, *(row for row in newest_first if row is not signing)]
