"""Which jobs a command means: by their ids, or all of a kind."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import psycopg

from bin.settings import Settings
from storage import jobs
from storage.jobs import JobState
from storage.postgres import Connection

MOST = 10_000


def add_choice(parser: argparse.ArgumentParser, of_kind: str) -> None:
    parser.add_argument("ids", nargs="*", type=UUID, metavar="ID", help="of jobs, as `list` tells")
    parser.add_argument("--kind", help=of_kind)


def missing(args: argparse.Namespace) -> bool:
    """Whether nothing was chosen; says so."""
    if args.ids or args.kind:
        return False
    print("plyr: say which: ID… or --kind", file=sys.stderr)
    return True


async def each_of(
    args: argparse.Namespace,
    settings: Settings,
    states: Sequence[JobState],
    do: Callable[[Connection, UUID], Awaitable[bool]],
) -> int:
    """Do it to each job that is meant; to how many it was done."""
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        ids: list[UUID] = list(args.ids)
        if args.kind:
            for state in states:
                found = await jobs.listed(conn, kind=args.kind, state=state, limit=MOST)
                ids += [job.id for job in found]
        return sum([await do(conn, id) for id in dict.fromkeys(ids)])


def told(count: int, what: str, otherwise: str) -> int:
    """Say to how many it was done, or why to none; the exit code."""
    print(
        f"{count:,} job{'' if count == 1 else 's'} {what}."
        if count
        else f"There is no such job, or {otherwise}."
    )
    return 0 if count else 1
