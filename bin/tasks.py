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
from appview.media.export import Exporter
from appview.media.mirror import MirrorConfig, Mirrors
from appview.media.pipeline import Uploads
from appview.media.replacement import Replacements
from bin import blob_store
from bin.settings import Settings
from bin.signing_in import acting, key_ring
from bin.uploading import track_place
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from storage.postgres import Pool

# Known without building anything: whoever only puts jobs into the queue needs no more.
LANES = {
    "blobs.collect": "light",
    "export": "light",
    "exports.expire": "light",
    "jobs.forget": "light",
    "mirror": "light",
    "mirror.sweep": "light",
    "records.doubt": "light",
    "replace": "heavy",
    "tracks.sweep": "light",
    "upload": "heavy",
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
        Schedule("exports.expire", every=timedelta(hours=1)),
        Schedule("jobs.forget", every=timedelta(days=1)),
        Schedule("mirror.sweep", every=timedelta(minutes=1)),
        Schedule("records.doubt", every=timedelta(minutes=10)),
        Schedule("tracks.sweep", every=timedelta(minutes=10)),
        Schedule(ROLL_UP, every=timedelta(minutes=5)),
        Schedule(SEAL, every=timedelta(days=1)),
    ]


@asynccontextmanager
async def tasks(settings: Settings, catalog: Catalog, pool: Pool) -> AsyncIterator[list[Task]]:
    """Whoever does each kind of job, with the clients that they need as long as the block lasts."""
    assert settings.database_url
    async with (
        blob_store.opened(settings) as store,
        GuardedClient(settings.dev_loopback) as http,
        acting(settings, catalog, pool, http, ring=key_ring(settings)) as pds,
    ):
        grace, keep = timedelta(hours=settings.blob_grace_hours), timedelta(hours=settings.upload_keep_hours)
        place = track_place(settings, catalog, pool, store, pds)
        mirrored = MirrorConfig(
            scratch=place.scratch,
            max_bytes=settings.mirror_max_mb << 20,
            max_duration_s=place.max_duration_s,
        )
        yield [
            Task("blobs.collect", house.collect_blobs(settings.database_url, store, grace=grace, keep=keep)),
            Task("jobs.forget", house.forget_jobs(pool)),
            Task("records.doubt", house.doubt_records(pool)),
            Task("tracks.sweep", house.sweep_tracks(pool, catalog.collections.track)),
            Replacements(place).task,
            *Exporter(pool, store, keep_days=settings.export_keep_days).tasks,
            *Mirrors(pool, store, http, job_queue(), catalog, mirrored).tasks,
            Uploads(place).task,
            *play_tasks(pool, settings.play_folder),
        ]
