"""Where jobs are put: a row of ours and a ticket of procrastinate's, in the caller's transaction.

    async with conn.transaction():
        …                                            # the row that the job is about
        id = await queue.enqueue(conn, "export", did=did, subject=did)

Contract: when that transaction commits the job is there and will be done; when it does not, nothing of it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from appview.jobs.tasks import Schedule, UnknownTask
from storage import jobs, queue
from storage.jobs import JobState
from storage.postgres import Connection


class JobQueue:
    """`lanes`: the lane of each kind of job that there is."""

    def __init__(self, lanes: Mapping[str, str]) -> None:
        self._lanes = lanes

    @property
    def kinds(self) -> Collection[str]:
        return self._lanes.keys()

    async def check(self, conn: Connection, wanted: Iterable[Schedule]) -> None:
        """Every kind of an unfinished job, and each that is scheduled, has a lane. Raises UnknownTask with
        one line for a person."""
        waiting = await jobs.unfinished(conn)
        strange = sorted(waiting.keys() - self._lanes.keys())
        if strange:
            told = ", ".join(f"{kind} ({waiting[kind]:,})" for kind in strange)
            raise UnknownTask(
                f"jobs wait that this plyr cannot do: {told}; plyr jobs cancel --kind ends them"
            )
        unmade = sorted({each.kind for each in wanted} - self._lanes.keys())
        if unmade:
            raise UnknownTask(f"there is a schedule for jobs that this plyr cannot do: {', '.join(unmade)}")

    async def enqueue(
        self,
        conn: Connection,
        kind: str,
        *,
        did: str | None = None,
        subject: str | None = None,
        args: Mapping[str, Any] | None = None,
        delay_s: float = 0,
    ) -> UUID | None:
        """A job, in the caller's transaction: it exists when that commits. None: one of this kind about this
        subject is not finished yet. Raises UnknownTask for a kind that no task has."""
        lane = self._lanes.get(kind)
        if lane is None:
            raise UnknownTask(kind)
        async with conn.transaction():
            id = await jobs.add(conn, kind, did=did, subject=subject, args=args or {}, lane=lane)
            if id is not None:
                await queue.defer(conn, id, delay_s=delay_s)
        return id

    async def cancel(self, conn: Connection, id: UUID) -> bool:
        """Ask for its end: an attempt that is on stops, what was begun is undone, then it is cancelled.
        False: it has ended already, or never was."""
        async with conn.transaction():
            if not await jobs.ask_to_end(conn, id):
                return False
            job = await jobs.get(conn, id)
            if job is not None and job.kind not in self._lanes:
                # Nobody knows how to undo it.
                return await jobs.finish(conn, id, JobState.CANCELLED, message="Cancelled.")
            await queue.abort(conn, id)
            await queue.defer(conn, id)
        return True

    async def retry(self, conn: Connection, id: UUID) -> bool:
        """Have it done again from its beginning, or, where it waits for its next attempt, now. False: there
        is no such job, or it is on or done, or another about the same subject is on."""
        async with conn.transaction():
            job = await jobs.get(conn, id)
            if job is None or job.kind not in self._lanes:
                return False
            if job.state is not JobState.PENDING and not await jobs.again(conn, id):
                return False
            await queue.defer(conn, id)
        return True
