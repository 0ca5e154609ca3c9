"""Job `uploads.sweep`: what jobs own that have ended and were not undone.

An undo is given up while a PDS is away, and does not know whether there is a record where nobody may ask and
its echo is not here yet. The index knows later: if the record is there, the track gets its blobs, since what
stands on a PDS must play. If none has come for a day, nothing is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

from appview.jobs.tasks import Done, Task, Work
from appview.jobs.work import Attempt as JobAttempt
from appview.media import pipeline, record_steps, replacement
from appview.media.attempt import Attempt, Place, begun
from appview.media.steps import Step
from storage import jobs
from storage.jobs import Job
from storage.postgres import Connection

KIND = "uploads.sweep"
ECHO = timedelta(days=1)  # that a record may take to come, its PDS being away

_KEEP: Mapping[str, Callable[[Attempt, Connection], Awaitable[None]]] = {
    pipeline.KIND: record_steps.adopt,
    replacement.KIND: replacement.adopt,
}


class Leftovers:
    """Sees to them."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def task(self) -> Task:
        return Task(KIND, self._run)

    async def _run(self, work: Work) -> Done:
        async with self._place.pool.connection() as conn:
            left = await jobs.left_over(conn, list(_KEEP))
        counts = {"kept": 0, "dropped": 0, "waiting": 0}
        for job in left:
            counts[await self._settle(job)] += 1
        return Done("Saw to what was not undone.", counts)

    async def _settle(self, job: Job) -> str:
        assert job.finished_at is not None
        async with begun(self._place, JobAttempt(self._place.pool, job)) as at:
            if at.facts.step is Step.OFFER:
                if await record_steps.is_indexed(at):
                    async with at.transaction() as conn:
                        await _KEEP[job.kind](at, conn)
                    return "kept"
                if job.finished_at > datetime.now(UTC) - ECHO:
                    return "waiting"
            await pipeline.drop(at)
            return "dropped"
