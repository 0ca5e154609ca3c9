"""`plyr jobs list`: jobs, newest first, under how many there are."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import orjson
import psycopg

from bin.settings import Settings
from indexer.explain import span
from storage import jobs
from storage.jobs import Job, JobState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", help="only jobs of this kind")
    parser.add_argument("--did", help="only jobs of this account")
    parser.add_argument("--state", choices=[str(state) for state in JobState], help="only jobs in this state")
    parser.add_argument("--all", action="store_true", help="also what plyr did well for itself")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="how many to list (default: 50)")
    parser.add_argument("--json", action="store_true", help="a JSON object for each job, one a line")


def run(args: argparse.Namespace, settings: Settings) -> int:
    found, counts = asyncio.run(_ask(args, settings))
    if args.json:
        for job in found:
            print(orjson.dumps(job).decode())
    else:
        print("\n".join(table(found, counts, datetime.now(UTC))))
    return 0


async def _ask(args: argparse.Namespace, settings: Settings) -> tuple[list[Job], dict[str, int]]:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        choice = {"kind": args.kind, "did": args.did, "state": args.state}
        house = args.all or any(choice.values())
        found = await jobs.listed(conn, **choice, house=house, limit=max(1, args.limit))
        return found, await jobs.states(conn)


def table(found: Sequence[Job], counts: dict[str, int], now: datetime) -> Iterator[str]:
    """One job a line, and what it says of itself below it."""
    if not counts:
        yield "No job is here, and none was in the last weeks."
        return
    yield ", ".join(f"{counts[state]:,} {state}" for state in JobState if counts.get(state))
    yield ""
    if not found:
        yield "None of them is meant by this choice; --all has those that plyr did for itself, too."
        return
    width = max(len("kind"), *(len(job.kind) for job in found))
    yield f"{'ID':<36}  {'kind':<{width}}  {'state':<9}  {'tries':>5}  {'made':<10}  for whom"
    for job in found:
        made = f"{span((now - job.created_at).total_seconds())} ago"
        head = f"{job.id}  {job.kind:<{width}}  {job.state:<9}  {job.tries:>5}"
        yield f"{head}  {made:<10}  {job.did or 'plyr'}"
        if told := said(job):
            yield f"{'':<36}  {told}"


def said(job: Job) -> str:
    """How far it is, or how it ended."""
    if job.state is JobState.FAILED:
        return job.error or ""
    parts = [job.message or ""]
    if job.progress is not None and not job.finished:
        parts.append(f"{job.progress:.0%}")
    if job.cancel_asked_at is not None and not job.finished:
        parts.append("is being cancelled")
    return ", ".join(part for part in parts if part)
