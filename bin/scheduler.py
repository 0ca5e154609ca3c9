"""`plyr scheduler`: puts the house's own jobs into the queue when they are due, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

import psycopg

from appview.jobs.schedule import Scheduler
from appview.jobs.tasks import UnknownTask
from bin.kinds import SCHEDULES, job_queue
from bin.settings import Settings
from bin.status import StatusWriter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes settings alone


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        asyncio.run(_until_stopped(settings, args.status_fd))
    except UnknownTask as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 2
    return 0


async def _until_stopped(settings: Settings, status_fd: int | None) -> None:
    work = asyncio.create_task(keep_time(settings, status_fd))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return


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
