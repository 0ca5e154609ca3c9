"""`plyr moderation cases`: what a person has to look at, and what became of the rest."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import orjson
import psycopg

from bin.settings import Settings
from indexer.explain import span
from storage import moderation as rows
from storage.moderation import Case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        choices=("open", "resolved", "all"),
        default="open",
        help="open: the oldest first; else the newest first [open]",
    )
    parser.add_argument("--did", help="only about this account and what it made")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="how many to list (default: 50)")
    parser.add_argument("--beyond", type=int, metavar="ID", help="list those that follow this one")
    parser.add_argument("--json", action="store_true", help="a JSON object for each case, one a line")


def run(args: argparse.Namespace, settings: Settings) -> int:
    found = asyncio.run(_ask(args, settings))
    if args.json:
        for case in found:
            print(orjson.dumps(case).decode())
    else:
        print("\n".join(table(found, datetime.now(UTC))))
    return 0


async def _ask(args: argparse.Namespace, settings: Settings) -> list[Case]:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        return await rows.listed(
            conn,
            state=None if args.state == "all" else args.state,
            did=args.did,
            beyond=args.beyond,
            limit=max(1, args.limit),
        )


def table(found: Sequence[Case], now: datetime) -> Iterator[str]:
    """One case a line."""
    if not found:
        yield "There is no such case."
        return
    yield f"{'ID':>6}  {'opened':<10}  {'by':<7}  {'reason':<16}  {'came to':<15}  about"
    for case in found:
        made = f"{span((now - case.opened_at).total_seconds())} ago"
        came = case.resolution or "open"
        head = f"{case.id:>6}  {made:<10}  {case.opened_by:<7}  {case.reason or '':<16}"
        yield f"{head}  {came:<15}  {case.subject}"
