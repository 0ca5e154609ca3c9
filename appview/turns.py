"""Turns at one person's PDS: of those who would change one thing at once, one does and the others wait.

    async with turns.take(pool, did, "like 17", rkey=fresh_rkey()) as turn:
        …                   # see how it stands, ask the PDS; no connection is held meanwhile
        async with pool.connection() as conn, conn.transaction():
            …               # the index
            await turn.end(conn)

Within one process they wait in a row, among processes for a lease in the database. That ends with the
connection that took it, and runs out if nobody can see that. `turn.open`: what a PDS was asked to write under
`turn.rkey`, in this turn or one before, may be there, though nobody knows; who has the next turn at this gets
the same key, to write it again or delete it.

Whose lease ended while it waited for a PDS does not know. So what is done in a turn must be right twice:
written under one key, or in place of exactly what was read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from appview.records import Away
from lexicons.syntax import Did, Rkey
from storage import turns
from storage.postgres import Connection, Pool
from storage.turns import Held

LEASE_S = 40.0  # longer than asking a PDS twice, with a refresh
WAIT_S = 25.0
_LEAST_S, _MOST_S = 0.01, 0.2


class Busy(Away):
    """Others are at the same, and do not come to an end."""


class Turn:
    """One that is held."""

    def __init__(self, held: Held, *, open: bool) -> None:
        self._held = held
        self.open = open
        self.over = False

    @property
    def rkey(self) -> Rkey | None:
        return self._held.rkey

    async def end(self, conn: Connection) -> None:
        """All is settled, in the caller's transaction; which must then commit."""
        await turns.end(conn, self._held)
        self.over = True

    async def leave(self, conn: Connection) -> None:
        await (turns.leave if self.open else turns.end)(conn, self._held)


class Turns:
    def __init__(self, *, lease_s: float = LEASE_S, wait_s: float = WAIT_S) -> None:
        self._lease_s = lease_s
        self._wait_s = wait_s
        self._rows: WeakValueDictionary[tuple[Did, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, pool: Pool, did: Did, what: str, *, rkey: Rkey | None = None) -> AsyncIterator[Turn]:
        """A turn, as long as the block lasts. `rkey`: for what is to be written, if an earlier turn has not
        left another. Raises Busy."""
        row = self._rows.setdefault((did, what), asyncio.Lock())
        try:
            async with asyncio.timeout(self._wait_s):
                await row.acquire()
                try:
                    held = await self._lease(pool, did, what, rkey)
                except BaseException:
                    row.release()
                    raise
        except TimeoutError:
            raise Busy("somebody else is changing the same") from None
        turn = Turn(held, open=held.rkey not in (None, rkey))
        try:
            yield turn
        finally:
            try:
                if not turn.over:
                    async with pool.connection() as conn:
                        await turn.leave(conn)
            finally:
                row.release()

    async def _lease(self, pool: Pool, did: Did, what: str, rkey: Rkey | None) -> Held:
        wait_s = _LEAST_S
        while True:
            async with pool.connection() as conn:
                held = await turns.take(conn, did, what, rkey, lease_s=self._lease_s)
            if held is not None:
                return held
            await asyncio.sleep(random.uniform(wait_s / 2, wait_s))
            wait_s = min(wait_s * 1.5, _MOST_S)
