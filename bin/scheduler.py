"""`plyr scheduler`: puts the house's own jobs into the queue when they are due, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import sys

import psycopg

from appview.jobs.schedule import Scheduler
from appview.jobs.tasks import UnknownTask
from bin.kinds import SCHEDULES, job_queue
from bin.settings import Settings
from bin.status import StatusWriter
from bin.stopping import until_stopped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes settings alone


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        asyncio.run(until_stopped(keep_time(settings, args.status_fd)))
    except UnknownTask as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 2
    return 0


async def keep_time(settings: Settings, status_fd: int | None = None) -> None:
    """Ends by cancellation. Raises UnknownTask."""
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        await job_queue().check(conn, SCHEDULES)
    scheduler = Scheduler(settings.database_url, job_queue(), SCHEDULES)
    if status_fd is None:
        print("keeping time", flush=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(scheduler.run())
        group.create_task(_report(scheduler, StatusWriter(status_fd)))


async def _report(scheduler: Scheduler, status: StatusWriter) -> None:
    while True:
        if scheduler.leads is not None:
            status.write({"part": "scheduler", "leads": scheduler.leads, "enqueued": scheduler.enqueued})
        await asyncio.sleep(1 if scheduler.leads is not None else 0.1)
