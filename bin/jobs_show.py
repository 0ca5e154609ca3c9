"""`plyr jobs show`: everything about one job."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg

from bin.jobs_list import said
from bin.settings import Settings
from storage import jobs
from storage.jobs import Job


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", type=UUID, metavar="ID", help="of the job, as `list` tells")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(args: argparse.Namespace, settings: Settings) -> int:
    job = asyncio.run(_ask(args.id, settings))
    if job is None:
        print("plyr: there is no such job; those that ended long ago are forgotten", file=sys.stderr)
        return 1
    if args.json:
        print(orjson.dumps(job, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(shown(job)))
    return 0


async def _ask(id: UUID, settings: Settings) -> Job | None:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        return await jobs.get(conn, id)


def shown(job: Job) -> Iterator[str]:
    yield f"{job.kind} {job.id}: {job.state}"
    if told := said(job):
        yield f"  {told}"
    rows: list[tuple[str, Any]] = [
        ("for", job.did or "plyr"),
        ("about", job.subject),
        ("phase", job.phase),
        ("tries", job.tries),
        ("made", _moment(job.created_at)),
        ("changed", _moment(job.updated_at)),
        ("ended", _moment(job.finished_at)),
        *(("warning", warning) for warning in job.warnings),
    ]
    for name, value in rows:
        if value is not None:
            yield f"  {name:<8} {value}"
    for name, values in (("args", job.args), ("facts", job.facts), ("result", job.result or {})):
        for key, value in sorted(values.items()):
            yield f"  {name:<8} {key}: {orjson.dumps(value).decode()}"


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
