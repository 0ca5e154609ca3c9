"""`plyr worker`: does jobs, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import psycopg
import structlog
from psycopg import OperationalError

from appview.jobs.tasks import UnknownTask
from appview.jobs.worker import Worker
from bin.kinds import LANES, SCHEDULES, job_queue
from bin.settings import Settings
from bin.status import PartStatus, StatusWriter
from bin.stopping import until_stopped
from bin.tasks import tasks
from lexicons.catalog import Catalog
from storage import jobs
from storage.postgres import Pool, make_pool

log = structlog.get_logger()

CONNECTIONS = 8
COUNT_EVERY_S = 5.0


def places(settings: Settings) -> dict[str, int]:
    """How many jobs of each lane are done at once."""
    return {
        "light": settings.light_jobs,
        "heavy": settings.heavy_jobs,
        "later": min(1, settings.heavy_jobs),  # it encodes, too
        "mirror": settings.mirror_jobs,
        "scan": min(2, settings.light_jobs),  # it waits for somebody else, for minutes
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes settings alone


def run(args: argparse.Namespace, settings: Settings) -> int:
    catalog = Catalog.load(settings.namespace)
    try:
        asyncio.run(until_stopped(do_jobs(settings, catalog, args.status_fd)))
    except UnknownTask as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 2
    return 0


async def do_jobs(settings: Settings, catalog: Catalog, status_fd: int | None = None) -> None:
    """Everything that does jobs. Ends by cancellation. Raises UnknownTask."""
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        await job_queue().check(conn, SCHEDULES)
    async with (
        make_pool(settings.database_url, max_size=CONNECTIONS, name="plyr worker") as pool,
        tasks(settings, catalog, pool) as doers,
    ):
        if {task.kind: task.lane for task in doers} != LANES:
            raise UnknownTask("bin/kinds.py names other kinds than bin/tasks.py")
        worker = Worker(settings.database_url, pool, doers, places(settings))
        if status_fd is None:
            print("doing jobs", flush=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            group.create_task(_report(worker, pool, StatusWriter(status_fd)))


async def _report(worker: Worker, pool: Pool, status: StatusWriter) -> None:
    """Say each second how it goes; what takes counting, less often."""
    count_at = float("-inf")
    said: PartStatus = {"part": "worker"}
    while True:
        now = time.monotonic()
        if now >= count_at:
            count_at = now + COUNT_EVERY_S
            try:
                async with pool.connection() as conn:
                    said["unfinished"] = sum((await jobs.unfinished(conn)).values())
            except OperationalError as error:
                log.warning("cannot count the jobs", error=str(error).strip())
        said["running"] = len(worker.attempts.running)
        said["attempts"] = worker.attempts.made
        status.write(said)
        await asyncio.sleep(1)
