"""Following a job: told of each change as it happens, by the database.

Contract: a follower sees the job as it stands now, then again after every change (several at once may be
one), and last as it ended. What happened while the connection to the database was away is seen when it is
back. One connection listens for all followers of a process.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import suppress
from uuid import UUID

import psycopg
import structlog

from storage import jobs
from storage.jobs import Job
from storage.postgres import Pool

log = structlog.get_logger()

BEAT_S = 15.0
_RETRY_S = 1.0


class JobWatch:
    """`beat_s`: how long a follower hears nothing at most."""

    def __init__(self, dsn: str, pool: Pool, *, beat_s: float = BEAT_S) -> None:
        self._dsn = dsn
        self._pool = pool
        self._beat_s = beat_s
        self._bells: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._listening: asyncio.Task[None] | None = None
        self._stopping = False

    async def follow(self, id: UUID) -> AsyncGenerator[Job | None]:
        """See the module; None now and then where nothing changed. Ends with the job, with the watch, or at
        once where there is no such job."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="job watch")
        bell = asyncio.Event()
        self._bells[id].add(bell)
        told: Job | None = None
        quiet = False
        try:
            while True:
                bell.clear()
                try:
                    async with self._pool.connection() as conn:
                        job = await jobs.get(conn, id)
                except psycopg.OperationalError:
                    job = told  # what it became is seen when the database is back
                    if job is None:
                        raise
                if job is None:
                    return
                if job != told:
                    yield job
                elif quiet:
                    yield None
                told = job
                if job.finished or self._stopping:
                    return
                quiet = not await _rung(bell, self._beat_s)
        finally:
            self._bells[id].discard(bell)
            if not self._bells[id]:
                del self._bells[id]

    async def stop(self) -> None:
        """End all following."""
        self._stopping = True
        self._ring(None)
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening

    async def _listen(self) -> None:
        while True:
            try:
                await jobs.listen(self._dsn, self._ring)
            except psycopg.Error as error:
                log.warning("not told of jobs", reason=str(error).strip())
            await asyncio.sleep(_RETRY_S)

    def _ring(self, id: UUID | None) -> None:
        """Wake who follows this job; None: everybody."""
        every = (bell for bells in self._bells.values() for bell in bells)
        for bell in list(every) if id is None else self._bells.get(id, ()):
            bell.set()


async def _rung(bell: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        return False
    return True
