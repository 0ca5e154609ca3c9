"""What the house wants done again and again: one process leads, and only puts jobs into the queue.

Contract: of any number of schedulers one leads, by an advisory lock of its connection; when it dies, Postgres
lets go of the lock and another one leads within `LOOK_EVERY_S`. Everything is enqueued on that very
connection, so that whoever has lost the lead cannot. When a kind is due is told by the newest of its jobs:
neither a new leader nor a restart does anything twice, or leaves it out. Who leads also looks for jobs that
were left behind, so that they are seen to wait though no worker lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from appview.jobs.queue import JobQueue
from appview.jobs.tasks import Schedule
from storage import jobs, queue
from storage.postgres import Connection

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
STALLED_S = 10.0


def due_at(last: datetime | None, every: timedelta, now: datetime) -> datetime:
    """When a kind is due that was last put into the queue then."""
    return now if last is None else max(now, last + every)


class Scheduler:
    """`leads`: whether this one does; None: it could not ask yet."""

    def __init__(self, dsn: str, jobs_queue: JobQueue, schedules: Sequence[Schedule]) -> None:
        self._dsn = dsn
        self._queue = jobs_queue
        self._schedules = schedules
        self.leads: bool | None = None
        self.enqueued = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                conn = await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, connect_timeout=5, application_name="plyr scheduler"
                )
                async with conn:
                    while True:
                        self.leads = await queue.lead(conn)
                        if self.leads:
                            break
                        await asyncio.sleep(LOOK_EVERY_S)
                    await self._lead(conn)
            except psycopg.OperationalError as error:
                log.warning("this scheduler does not lead", reason=str(error).strip())
            await asyncio.sleep(LOOK_EVERY_S)

    async def _lead(self, conn: Connection) -> None:
        """Enqueue what comes due, until the connection is lost."""
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        one_at_a_time = asyncio.Lock()

        async def enqueue(kind: str) -> None:
            try:
                async with one_at_a_time:
                    if await self._queue.enqueue(conn, kind, subject=kind) is not None:
                        self.enqueued += 1
            except psycopg.OperationalError as error:
                if not lost.done():
                    lost.set_exception(error)

        clock = AsyncIOScheduler(timezone=UTC)
        now = datetime.now(UTC)
        for each in self._schedules:
            clock.add_job(
                enqueue,
                IntervalTrigger(seconds=int(each.every.total_seconds()), timezone=UTC),
                args=[each.kind],
                id=each.kind,
                next_run_time=due_at(await jobs.last_of(conn, each.kind), each.every, now),
                coalesce=True,
                misfire_grace_time=None,
            )
        clock.start()
        log.info("this scheduler leads")
        try:
            while not lost.done():
                async with one_at_a_time:
                    await queue.revive(conn, self._queue.kinds, stalled_s=STALLED_S)
                await asyncio.wait([lost], timeout=LOOK_EVERY_S)
            lost.result()
        finally:
            self.leads = False
            clock.shutdown(wait=False)
