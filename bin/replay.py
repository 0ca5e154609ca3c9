"""`plyr replay`: computes every table anew from the archive, and says where the real ones differ."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from bin.settings import Settings
from indexer.fold import UnknownStep
from indexer.shadow import Replayed, replay
from lexicons.catalog import CatalogError
from storage.segment import BrokenSegment
from storage.shadow import Difference

_SHOWN = 60  # characters of a value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--verify", action="store_true", help="compare, change nothing; exit code 1 if anything differs"
    )
    what.add_argument(
        "--promote", action="store_true", help="put what was computed in the place of the tables, at once"
    )
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="processes that parse (default: 2)"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    assert settings.database_url
    started = time.monotonic()
    try:
        replayed = asyncio.run(
            replay(
                settings.database_url,
                settings.archive_folder,
                settings.namespace,
                promote=args.promote,
                workers=max(1, args.workers),
                progress=_progress,
            )
        )
    except (BrokenSegment, UnknownStep, CatalogError, OSError) as error:
        _progress("")
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    _progress("")
    print(summary(replayed, time.monotonic() - started, promoted=args.promote))
    return 1 if args.verify and replayed.differences else 0


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def summary(replayed: Replayed, seconds: float, *, promoted: bool) -> str:
    rate = replayed.entries / seconds
    lines = [
        f"{replayed.entries:,} events up to seq {replayed.head:,} came to {replayed.records:,} records.",
        f"It took {seconds:.1f} s: {rate:,.0f} events/s.",
    ]
    if not replayed.differences:
        lines.append("Equal: every table is what the archive says.")
    for one in replayed.differences:
        lines += _difference(one)
    if promoted:
        lines.append("The tables are now what the archive says.")
    elif replayed.differences:
        lines.append("Nothing was changed; plyr replay --promote puts what the archive says in their place.")
    return "\n".join(lines)


def _difference(one: Difference) -> list[str]:
    lines = [f"  {one.table}: {one.missing:,} missing, {one.extra:,} too many, {one.wrong:,} wrong"]
    for example in one.examples:
        lines.append(f"    {example.key}")
        lines += [
            f"      {name}: is {_short(real)}, the archive says {_short(replayed)}"
            for name, (real, replayed) in example.columns.items()
        ]
    return lines


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
