"""Every job that there is: its lane, the task that does it, and how often the house wants it done.

A new one is a line in `LANES` and one in `tasks`; the house's own also in `schedules`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from appview.jobs import house
from appview.jobs.plays import ROLL_UP, SEAL, play_tasks
from appview.jobs.queue import JobQueue
from appview.jobs.schedule import Schedule
from appview.jobs.tasks import Task
from bin import blob_store
from bin.settings import Settings
from lexicons.catalog import Catalog
from storage.postgres import Pool

# Known without building anything: whoever only puts jobs into the queue needs no more.
LANES = {
    "blobs.collect": "light",
    "jobs.forget": "light",
    ROLL_UP: "light",
    SEAL: "light",
}


def job_queue() -> JobQueue:
    return JobQueue(LANES)


def schedules(settings: Settings) -> list[Schedule]:
    """What the house wants done, and how often."""
    del settings
    return [
        Schedule("blobs.collect", every=timedelta(hours=1)),
        Schedule("jobs.forget", every=timedelta(days=1)),
        Schedule(ROLL_UP, every=timedelta(minutes=5)),
        Schedule(SEAL, every=timedelta(days=1)),
    ]


@asynccontextmanager
async def tasks(settings: Settings, catalog: Catalog, pool: Pool) -> AsyncIterator[list[Task]]:
    """Whoever does each kind of job, with the clients that they need as long as the block lasts."""
    assert settings.database_url
    async with blob_store.opened(settings) as store:
        grace, keep = timedelta(hours=settings.blob_grace_hours), timedelta(hours=settings.upload_keep_hours)
        yield [
            Task("blobs.collect", house.collect_blobs(settings.database_url, store, grace=grace, keep=keep)),
            Task("jobs.forget", house.forget_jobs(pool)),
            *play_tasks(pool, settings.play_folder),
        ]
