"""`plyr rebuild`: computes all projections and counters anew from the records, and says what differed."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import psycopg

from bin.settings import Settings
from indexer.replay import Rebuilt, rebuild_projections
from lexicons.catalog import Catalog


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="only say what differs, change nothing")


def run(args: argparse.Namespace, settings: Settings) -> int:
    catalog = Catalog.load(settings.namespace)
    started = time.monotonic()
    rebuilt = asyncio.run(_rebuild(settings, catalog, mend=not args.check))
    print(_summary(rebuilt, time.monotonic() - started, mended=not args.check))
    return 1 if args.check and rebuilt.differences else 0


async def _rebuild(settings: Settings, catalog: Catalog, *, mend: bool) -> Rebuilt:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        rebuilt = await rebuild_projections(conn, catalog, mend=mend, progress=_progress)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return rebuilt


def _progress(records: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{records:,} records read", end="", file=sys.stderr, flush=True)


def _summary(rebuilt: Rebuilt, seconds: float, *, mended: bool) -> str:
    lines = [f"{rebuilt.records:,} records read in {seconds:.1f} s."]
    if not rebuilt.differences:
        return lines[0] + " Every projection and counter is what the records say."
    lines += [
        f"  {d.table}: {d.missing} missing, {d.extra} too many, {d.wrong} wrong; as {', '.join(d.examples)}"
        for d in rebuilt.differences
    ]
    lines.append(
        "All of it was put right." if mended else "Nothing was changed; without --check it is put right."
    )
    return "\n".join(lines)
