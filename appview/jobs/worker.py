"""Does jobs: lanes with so many places each, and what keeps any job from being left behind.

Contract: a job whose worker was killed is taken up by another within `stalled_s` and a few seconds: each
worker tells every `heartbeat_s` that it lives, and takes tickets of the silent every `revive_s`. A job that
is unfinished and has no ticket gets one in the same way. A worker that is told to stop ends its attempts and
gives the jobs back at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog
from procrastinate import App
from procrastinate.exceptions import ConnectorException
from psycopg import OperationalError

from appview.jobs.attempt import Attempts
from appview.jobs.engine import AGAIN_S, make_engine
from appview.jobs.tasks import Task
from storage import queue
from storage.postgres import Connection, Pool

log = structlog.get_logger()

HEARTBEAT_S, STALLED_S, REVIVE_S, POLL_S = 2.0, 10.0, 2.0, 1.0


class Worker:
    """`lanes`: how many jobs of a lane are done at once."""

    def __init__(
        self,
        dsn: str,
        pool: Pool,
        tasks: Sequence[Task],
        lanes: Mapping[str, int],
        *,
        heartbeat_s: float = HEARTBEAT_S,
        stalled_s: float = STALLED_S,
        revive_s: float = REVIVE_S,
    ) -> None:
        self._dsn = dsn
        self._pool = pool
        self._lanes = lanes
        self._kinds = {task.kind: task.lane for task in tasks}
        self._heartbeat_s, self._stalled_s, self._revive_s = heartbeat_s, stalled_s, revive_s
        self._spent: dict[int, float] = {}
        self.attempts = Attempts(pool, tasks)

    async def run(self) -> None:
        """Until it is cancelled."""
        engine = make_engine(self._dsn, self._kinds, self._attempt)
        async with engine.open_async(), asyncio.TaskGroup() as group:
            for lane, places in self._lanes.items():
                if places:
                    group.create_task(self._lane(engine, lane, places))
            group.create_task(self._revive())

    async def _lane(self, engine: App, lane: str, places: int) -> None:
        while True:
            try:
                await engine.run_worker_async(
                    queues=[lane],
                    name=lane,
                    concurrency=places,
                    fetch_job_polling_interval=POLL_S,
                    abort_job_polling_interval=POLL_S,
                    shutdown_graceful_timeout=0,
                    delete_jobs="always",
                    install_signal_handlers=False,
                    update_heartbeat_interval=self._heartbeat_s,
                    stalled_worker_timeout=self._stalled_s,
                )
            except ConnectorException as error:
                reason = str(error.__cause__ or error).strip()
                log.warning("waiting for the database", lane=lane, reason=reason)
            await asyncio.sleep(AGAIN_S)

    async def _attempt(self, id: UUID, ticket: int) -> None:
        try:
            await self.attempts.make(id)
        finally:
            self._spent[ticket] = asyncio.get_running_loop().time()

    async def _revive(self) -> None:
        """Look after tickets that nobody holds any more, of others and of our own."""
        while True:
            try:
                async with self._pool.connection() as conn:
                    await self._drop_spent(conn)
                    revived = await queue.revive(conn, self._kinds, stalled_s=self._stalled_s)
                if revived:
                    log.info("took up jobs that were left behind", jobs=[str(id) for id in revived])
            except OperationalError as error:
                log.warning("waiting for the database", reason=str(error).strip())
            await asyncio.sleep(self._revive_s)

    async def _drop_spent(self, conn: Connection) -> None:
        """Tickets whose attempt ended a while ago are gone, unless the database was away at that moment."""
        before = asyncio.get_running_loop().time() - self._stalled_s
        spent = [ticket for ticket, ended in self._spent.items() if ended < before]
        if spent:
            await queue.drop(conn, spent)
            for ticket in spent:
                del self._spent[ticket]
