"""What a task is given for one attempt: its job, a way to tell how far it is, a place for what it came to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import structlog
from psycopg import OperationalError

from storage import jobs
from storage.jobs import Job
from storage.postgres import Connection, Pool

log = structlog.get_logger()

TELL_EVERY_S = 0.3


class _Said(NamedTuple):
    phase: str
    message: str
    progress: float | None


class Attempt:
    """One attempt at a job; a `Work` of tasks.py. `undoing`: it only undoes, and nobody can cancel that."""

    def __init__(self, pool: Pool, job: Job, *, tell_every_s: float = TELL_EVERY_S) -> None:
        self._pool = pool
        self._job = job
        self._tell_every_s = tell_every_s
        self._said: _Said | None = None
        self._news = asyncio.Event()
        self._gone = False
        self.undoing = False

    @property
    def job(self) -> Job:
        return self._job

    async def report(self, phase: str, message: str, progress: float | None = None) -> None:
        """Tell its owner; `tell` writes the newest of it down. Raises CancelledError once it is to end."""
        if self._gone:
            raise asyncio.CancelledError
        if progress is not None:
            progress = min(max(progress, 0.0), 1.0)
        self._said = _Said(phase, message, progress)
        self._news.set()
        await asyncio.sleep(0)

    async def save(
        self, facts: Mapping[str, Any], *, warnings: Sequence[str] = (), conn: Connection | None = None
    ) -> None:
        """Write down what a step came to: in `conn`'s transaction, else in one of its own. Raises
        CancelledError, and writes nothing, where the job has ended or another attempt is on."""
        job = self._job
        async with nullcontext(conn) if conn is not None else self._pool.connection() as used:
            saved = await jobs.save(used, job.id, facts, warnings=warnings, attempt=job.attempts)
        if not saved:
            raise asyncio.CancelledError
        self._job = replace(job, facts=job.facts | dict(facts), warnings=[*job.warnings, *warnings])

    async def tell(self, stop: asyncio.Task[Any]) -> None:
        """Write down what was reported, the newest of it and not too often; cancel `stop` once the job is to
        end. Until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._said is not None and await self._ended(self._said):
                self._gone = True
                stop.cancel()
                return
            await asyncio.sleep(self._tell_every_s)

    async def _ended(self, said: _Said) -> bool:
        job = self._job
        try:
            async with self._pool.connection() as conn:
                asked = await jobs.report(conn, job.id, *said, attempt=job.attempts)
        except OperationalError as error:
            log.warning("cannot tell how far a job is", job=str(job.id), reason=str(error).strip())
            return False
        return asked is None or (asked and not self.undoing)
