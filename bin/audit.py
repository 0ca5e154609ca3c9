"""`plyr audit [DID]`: what happened to people's access, newest first."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

import psycopg

from bin.settings import Settings
from storage import audit
from storage.audit import Noted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("did", nargs="?", help="only of this account")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="how many to list (default: 50)")
    parser.add_argument("--before", type=int, metavar="ID", help="list those that came before this one")


def run(args: argparse.Namespace, settings: Settings) -> int:
    print("\n".join(table(asyncio.run(_listed(args, settings)))))
    return 0


async def _listed(args: argparse.Namespace, settings: Settings) -> list[Noted]:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        return await audit.listed(conn, did=args.did, before=args.before, limit=max(1, args.limit))


def table(noted: Sequence[Noted]) -> list[str]:
    """One event a line."""
    if not noted:
        return ["Nothing was noted."]
    lines: list[str] = []
    for one in noted:
        detail = " ".join(f"{key}={value}" for key, value in one.detail.items() if value is not None)
        parts = (
            f"{one.id:>8}  {one.at:%Y-%m-%d %H:%M:%S}  {one.event:<16}",
            one.did or "",
            "" if one.session is None else f"session {one.session}",
            "" if one.client is None else f"from {one.client}",
            detail,
        )
        lines.append("  ".join(part for part in parts if part))
    return lines
