"""`plyr moderation scan --unscanned`: scans what has no verdict yet, here and now, and says what came of it.

Every verdict is kept as it comes: interrupted, it goes on with the rest the next time. What a job is about
already is left to that. Once AuDD refuses to answer more, or our token, the rest is left alone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import psycopg

from appview.moderation.scanning import KIND, Came, Outcome, Scanner
from bin import blob_store
from bin.scanning import off, scanner
from bin.settings import Settings
from bin.view import duration
from firehose.net import GuardedClient
from lexicons.syntax import Nsid
from storage import scans
from storage.postgres import make_pool
from storage.scans import ErrorKind, Target

NAMESPACES = {"dev": "fm.plyr.dev", "staging": "fm.plyr.stg", "prod": "fm.plyr"}
_REFUSED = (ErrorKind.QUOTA, ErrorKind.TOKEN)
_BAR = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unscanned", action="store_true", required=True, help="what has no verdict about what it plays now"
    )
    parser.add_argument("--max-duration", type=float, metavar="MIN", help="leave longer sounds alone")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be scanned")
    parser.add_argument("--limit", type=_count, metavar="N", help="scan at most so many")
    parser.add_argument("--env", choices=NAMESPACES, help="stop unless this is where the settings point")


def run(args: argparse.Namespace, settings: Settings) -> int:
    if args.env is not None and NAMESPACES[args.env] != settings.namespace:
        wanted = f"{args.env} is namespace {NAMESPACES[args.env]}"
        print(f"plyr: {wanted}, and the settings say {settings.namespace}", file=sys.stderr)
        return 2
    if why := off(settings):
        print(f"plyr: our own scanner alone is asked, and not AuDD: {why}", file=sys.stderr)
    return asyncio.run(_scan(args, settings))


async def _scan(args: argparse.Namespace, settings: Settings) -> int:
    assert settings.database_url
    max_s = None if args.max_duration is None else args.max_duration * 60
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        found = await scans.unscanned(
            conn, kind=KIND, limit=args.limit, audd=off(settings) is None, undue=True, max_s=max_s
        )
    if args.dry_run:
        print("\n".join(listed(found)))
        return 0
    async with (
        make_pool(settings.database_url, max_size=1, name="plyr moderation scan") as pool,
        GuardedClient(settings.dev_loopback) as http,
        blob_store.opened(settings) as store,
    ):
        track = Nsid(f"{settings.namespace}.track")
        outcomes = await _each(scanner(settings, pool, http, store, track), found)
    print("\n".join(summary(outcomes, len(found))))
    return 1 if any(each.came is Came.ERROR for each in outcomes) else 0


async def _each(using: Scanner, found: Sequence[Target]) -> list[Outcome]:
    outcomes = list[Outcome]()
    for number, target in enumerate(found, 1):
        outcome = await using.scan(target.did, target.rkey)
        outcomes.append(outcome)
        if outcome.came in (Came.FLAGGED, Came.ERROR):
            text = f"{target.did}/{target.rkey}  {outcome.error or outcome.came}"
            print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, flush=True)
        if sys.stderr.isatty():
            print(f"\r\x1b[K{bar(number, len(found))}", end="", file=sys.stderr, flush=True)
        if outcome.kind in _REFUSED:
            break
    if outcomes and sys.stderr.isatty():
        print(file=sys.stderr)
    return outcomes


def bar(number: int, of: int) -> str:
    """How far it is, on one line."""
    full = _BAR * number // of
    return f"[{'#' * full}{'.' * (_BAR - full)}] {number:,} of {of:,}"


def listed(found: Sequence[Target]) -> Iterator[str]:
    """What would be scanned, one a line, and how much that is."""
    for each in found:
        yield f"{each.did}/{each.rkey}  {duration(each.duration_s)}"
    total_s = sum(each.duration_s for each in found)
    yield f"{len(found):,} would be scanned, {duration(total_s)} of sound. Nothing was."


def summary(outcomes: Sequence[Outcome], of: int) -> Iterator[str]:
    """How many of each, and what was left."""
    came = Counter(each.came for each in outcomes)
    told = [f"{came[each]:,} {each}" for each in Came if came[each]]
    yield f"{len(outcomes):,} scanned" + (f": {', '.join(told)}." if told else ".")
    kinds = Counter(each.kind for each in outcomes if each.kind is not None)
    if kinds:
        told = [f"{count:,} {kind}" for kind, count in sorted(kinds.items())]
        yield f"No verdict: {', '.join(told)}. They are tried again."
    if len(outcomes) < of:
        yield f"{of - len(outcomes):,} were left alone: AuDD answers no more, or does not take our token."


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
