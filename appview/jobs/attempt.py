"""One attempt at a job, from its ticket to its row: run the task, see how it ended, write that down.

    begin ─▶ run ─▶ Done ──────────────────────────────────────────────▶ done
              │├──▶ Again (TryLater, any other error) ─────────────────▶ pending, and a ticket for later
              │├──▶ Failed (TaskFailed, the last attempt) ─▶ undo ─────▶ failed
              │├──▶ Cancelled (somebody asked) ────────────▶ undo ─────▶ cancelled
              │└──▶ GivenBack (this process stops) ────────────────────▶ pending, and a ticket for now
              └─ the next one, where this was killed in `undo`, goes on with that

That it is to be undone is in the row (`error`, `cancel_asked_at`) before that is begun. An undo that fails is
tried again like a task, and given up after as many attempts: the job ends all the same, and the log says so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from psycopg import OperationalError

from appview.jobs.tasks import MOST_ATTEMPTS, Done, Task, TaskFailed, TryLater, Undo
from appview.jobs.work import Attempt
from appview.loops import beside
from storage import jobs, queue
from storage.jobs import Job, JobState
from storage.postgres import Connection, Pool

log = structlog.get_logger()

FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0
WRITE_FOR_S = 30.0
_OURS = "Something went wrong here."


@dataclass(frozen=True, slots=True)
class Again:
    reason: str
    wait_s: float
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    error: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    pass


@dataclass(frozen=True, slots=True)
class GivenBack:
    pass


End = Done | Again | Failed | Cancelled | GivenBack


def wait_s(attempts: int, chance: float) -> float:
    """How long to wait after so many attempts, `chance` from 0 to 1: 5 s, 10 s, 20 s, … 5 min, each up to a
    quarter more or less."""
    return min(FIRST_WAIT_S * 2 ** (attempts - 1), LONGEST_WAIT_S) * (0.75 + chance / 2)


def begun_to_end(job: Job, task: Task) -> Failed | Cancelled | None:
    """How a job ends that is only to be undone; None: it is to be done."""
    if job.cancel_asked_at is not None:
        return Cancelled()
    if job.error is not None:
        return Failed(job.error)
    if job.tries > task.attempts:
        return Failed(f"It was begun {task.attempts} times, and never came to an end.")
    return None


class Attempts:
    """Makes attempts. `tasks` by kind; `chance` gives numbers from 0 to 1."""

    def __init__(
        self, pool: Pool, tasks: Iterable[Task], *, chance: Callable[[], float] = random.random
    ) -> None:
        self._pool = pool
        self._tasks: Mapping[str, Task] = {task.kind: task for task in tasks}
        self._chance = chance
        self.made = 0
        self.running: set[UUID] = set()

    async def make(self, id: UUID) -> None:
        """One attempt at this job; nothing where it has ended. Raises OperationalError."""
        async with self._pool.connection() as conn:
            job = await jobs.begin(conn, id)
        if job is None:
            return
        self.running.add(id)
        try:
            end = await self._end_of(job)
        except asyncio.CancelledError:
            # A task may also be hit by a cancellation of its own making: one more thing that went wrong.
            end = GivenBack() if _go_on() else self._again(job, TryLater("It was interrupted."))
        finally:
            self.running.discard(id)
            self.made += 1
        await self._persistently(job, end)

    async def _end_of(self, job: Job) -> End:
        task = self._tasks[job.kind]
        work = Attempt(self._pool, job)
        end = begun_to_end(job, task) or await self._try(task, work)
        if isinstance(end, Failed | Cancelled) and task.failed is not None:
            return await self._undo(task, task.failed, job, end)
        return end

    async def _try(self, task: Task, work: Attempt) -> End:
        try:
            return await self._told(work, lambda: self._run(task, work))
        except asyncio.CancelledError:
            if not await self._asked_to_end(work.job):
                raise
            _go_on()
            return Cancelled()

    async def _run(self, task: Task, work: Attempt) -> End:
        job = work.job
        try:
            return await task.run(work)
        except Exception as error:  # noqa: BLE001 a task's boundary
            cause = _cause(error)
        if isinstance(cause, TaskFailed):
            return Failed(str(cause))
        if not isinstance(cause, TryLater):
            names = {"kind": job.kind, "job": str(job.id), "attempt": job.attempts}
            log.error("a job went wrong", **names, exc_info=cause)
        later = _later(job, cause)
        if later.counts and job.tries >= task.attempts:
            return Failed(str(later))
        return self._again(job, later)

    def _again(self, job: Job, later: TryLater) -> Again:
        waits = wait_s(job.tries, self._chance()) if later.wait_s is None else later.wait_s
        return Again(str(later), waits, later.counts)

    async def _undo(self, task: Task, undo: Undo, job: Job, end: Failed | Cancelled) -> End:
        """What is undone is what is written down: the last that was saved may have been rolled back."""
        attempt = job.attempts
        async with self._pool.connection() as conn:
            if isinstance(end, Failed) and not await jobs.doom(conn, job.id, end.error, attempt=attempt):
                return end
            saved = await jobs.get(conn, job.id)
        if saved is None or saved.attempts != attempt:
            return end
        work = Attempt(self._pool, saved)
        work.undoing = True
        try:
            await self._told(work, lambda: undo(work))
        except Exception as error:
            log.exception("what a job had begun is not undone", kind=job.kind, job=str(job.id))
            if job.tries < task.attempts + MOST_ATTEMPTS:
                return self._again(job, _later(job, _cause(error)))
        return end

    async def _told(self, work: Attempt, do: Callable[[], Awaitable[Any]]) -> Any:
        """Do it while what it reports is written down."""
        me = asyncio.current_task()
        assert me is not None
        async with beside("progress of a job", lambda: work.tell(me)):
            return await do()

    async def _asked_to_end(self, job: Job) -> bool:
        async with self._pool.connection() as conn:
            now = await jobs.get(conn, job.id)
        return now is not None and now.cancel_asked_at is not None and now.attempts == job.attempts

    async def _persistently(self, job: Job, end: End) -> None:
        """Write it down, though the database be away for a moment; not while this process stops."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (0 if isinstance(end, GivenBack) else WRITE_FOR_S)
        while True:
            try:
                async with self._pool.connection() as conn, conn.transaction():
                    await write(conn, job, end)
                return
            except OperationalError as error:
                if loop.time() >= deadline:
                    raise
                log.warning("cannot write how a job ended", job=str(job.id), reason=str(error).strip())
                await asyncio.sleep(1)


async def write(conn: Connection, job: Job, end: End) -> None:
    """What an attempt came to, in the caller's transaction; nothing where the job has ended, or another
    attempt is on."""
    id, attempt = job.id, job.attempts
    match end:
        case Done(message, result):
            await jobs.finish(conn, id, JobState.DONE, message=message, result=result, attempt=attempt)
        case Failed(error):
            await jobs.finish(conn, id, JobState.FAILED, message=error, error=error, attempt=attempt)
        case Cancelled():
            await jobs.finish(conn, id, JobState.CANCELLED, message="Cancelled.", attempt=attempt)
        case Again(reason, waits, counts):
            if await jobs.wait(conn, id, reason, attempt=attempt, counts=counts):
                await queue.defer(conn, id, delay_s=waits)
        case GivenBack():
            if await jobs.give_back(conn, id, attempt=attempt):
                await queue.defer(conn, id)


def _cause(error: Exception) -> Exception:
    """Of a group of errors the one that decides: a TaskFailed, else a TryLater, else the group."""
    if isinstance(error, ExceptionGroup):
        for kind in (TaskFailed, TryLater):
            found = error.subgroup(kind)
            while isinstance(found, ExceptionGroup):
                found = found.exceptions[0]
            if found is not None:
                return found
    return error


def _later(job: Job, cause: Exception) -> TryLater:
    """Any error as one that another attempt may mend, with a text for the job's owner. Those of the house
    have no other reader than the operator."""
    if isinstance(cause, TryLater):
        return cause
    return TryLater(_OURS if job.did else f"{type(cause).__name__}: {cause}")


def _go_on() -> bool:
    """Being cancelled was understood, and there is something left to do. False: nobody had cancelled us."""
    task = asyncio.current_task()
    cancelled = task is not None and task.cancelling() > 0
    while task is not None and task.cancelling():
        task.uncancel()
    return cancelled
