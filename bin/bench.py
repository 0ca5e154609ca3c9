"""`plyr bench`: the hot paths beside the common way and the limit, as ratios of one run.

It starts a Postgres of its own that goes away afterwards; no database of anybody's is
touched, and nothing leaves the machine. docs/benchmarks.md tells what each bench does.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bin.settings import Settings

NAMES = (
    *(
        "pipeline",
        "verify",
        "ingest",
        "feed",
        "rest",
        "backfill",
        "live",
        "bigcar",
        "archive",
        "auth",
        "plays",
    ),
    *("ranges", "zip", "upload", "transcode", "headline", "scan"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(NAMES)} (default: all)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small inputs: about a minute in all, 70 %% of each ratio is enough",
    )
    parser.add_argument(
        "--profile", action="store_true", help="also print the ten costliest functions of each"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures into a file, too")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 for a missed ratio or a wrong answer, 2 for a name that there is not."""
    unknown = [name for name in args.names if name not in NAMES]
    if unknown:
        print(f"plyr: no bench is called {unknown[0]}: there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    try:
        from tests.bench import suite
        from tests.bench.corpus import MissingCorpus
    except ModuleNotFoundError as error:
        print(f"plyr: the benches need {error.name}, which requirements/dev.lock holds", file=sys.stderr)
        return 1
    names = [name for name in NAMES if not args.names or name in args.names]
    try:
        return asyncio.run(
            suite.run(names, quick=args.quick, profile=args.profile, json_file=args.json, say=_say)
        )
    except MissingCorpus as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 2


def _say(text: str) -> None:
    print(text, flush=True)
