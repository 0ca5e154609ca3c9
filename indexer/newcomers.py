"""Accounts that other processes track become known to the followers of this one, and so does who asked to be
forgotten.

A record of ours is never passed over, whoever wrote it; the rest of an account's commits are, until it is
known here. So whoever is found is known within a second, before their repo is read whole. And whoever is
forgotten is passed by within a second; what still comes in by then finds nobody to belong to.
"""

from __future__ import annotations

import asyncio

import structlog

from firehose.filter import Interest
from storage import forgotten, repos
from storage.forgotten import Version
from storage.postgres import AWAY, Pool

log = structlog.get_logger()

EVERY_S = 1.0
LATE = 5000  # numbers: a transaction may take a lower one and show it later
LOOKS = 10  # until the late ones are looked for, too


class Newcomers:
    """Adds to `interest` whoever got a number above `known`, until it is cancelled."""

    def __init__(self, pool: Pool, interest: Interest, known: int) -> None:
        self._pool = pool
        self._interest = interest
        self._known = known
        self._forgotten: Version | None = None

    async def run(self) -> None:
        look = 0
        while True:
            look += 1
            try:
                await self.once(late=look % LOOKS == 0)
            except AWAY as error:
                log.warning("newcomers wait for the database", error=str(error).strip())
            await asyncio.sleep(EVERY_S)

    async def once(self, *, late: bool = True) -> None:
        """Everybody since the last time, and with `late` those whose transaction was slower."""
        async with self._pool.connection() as conn:
            found = await repos.tracked_after(conn, max(0, self._known - LATE) if late else self._known)
            version = await forgotten.version(conn)
            if version != self._forgotten:
                self._interest.forgotten = await forgotten.hashes(conn)
                self._forgotten = version
        self._interest.tracked.update(did for _, did in found)
        self._known = max([self._known, *(id for id, _ in found)])
