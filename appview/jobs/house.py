"""The house's own jobs: what nobody asked for and has to be done again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg

from appview.jobs.tasks import Done, Run, TryLater, Work
from storage import jobs
from storage.blobs.collector import collect
from storage.blobs.store import BlobStore
from storage.postgres import Pool

KEEP_JOBS_DAYS = 30


def collect_blobs(dsn: str, store: BlobStore, *, grace: timedelta, keep: timedelta) -> Run:
    """Removes blobs that nobody needs, and uploads that stand still."""

    async def run(work: Work) -> Done:
        # A connection of its own: the store may take its time, and others wait for those of the pool.
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            done = await collect(conn, store, grace=grace, keep=keep, now=datetime.now(UTC))
        counts = {"blobs": done.blobs, "bytes": done.bytes, "uploads": done.uploads}
        if done.failed is not None:
            raise TryLater(done.failed)
        return Done("Removed what nobody needs.", counts)

    return run


def forget_jobs(pool: Pool) -> Run:
    """Removes jobs that ended long ago."""

    async def run(work: Work) -> Done:
        async with pool.connection() as conn:
            return Done("Removed old jobs.", {"jobs": await jobs.forget_old(conn, days=KEEP_JOBS_DAYS)})

    return run
