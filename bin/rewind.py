"""`plyr rewind`: has a source read again from an earlier point. Replays change nothing that was right."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bin.settings import Settings
from firehose.relay import BadSource, Source, SourceKind, parse_source
from storage import archive, cursors, fold, segment
from storage.postgres import Connection
from storage.segment import BrokenSegment

INGEST = ["plyr ingest"]
NO_POINT = "is neither a seq nor a time as 2026-07-04T14:00Z"


class NotRewound(Exception):
    """The cursor stays where it is; the text says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="URL", help="as it stands in the sources")
    parser.add_argument(
        "--to", required=True, metavar="SEQ|TIME", help="a seq of that source, or a time as 2026-07-04T14:00Z"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        source = parse_source(args.source)
    except BadSource as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 2
    if not is_point(args.to):
        print(f"plyr: --to: {args.to} {NO_POINT}", file=sys.stderr)
        return 2
    try:
        before, after = asyncio.run(_rewind(settings, source, args.to))
    except (NotRewound, BrokenSegment) as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    print(f"{source.url}: from seq {before:,} to {after:,}; ingest reads on from there when it starts.")
    return 0


def is_point(text: str) -> bool:
    """Whether it is a seq, or a time."""
    if text.isdecimal():
        return True
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


async def _rewind(settings: Settings, source: Source, to: str) -> tuple[int, int]:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        return await put_back(conn, settings.archive_folder, source, to)


async def put_back(conn: Connection, folder: Path, source: Source, to: str) -> tuple[int, int]:
    """Where the cursor was, and where it is now. Raises NotRewound."""
    before = await cursors.get(conn, source.url)
    if before is None:
        raise NotRewound(f"{source.url} was never read: there is no cursor to put back")
    if await archive.ingesting(conn, INGEST):
        raise NotRewound("ingest is running and would go on where it is: stop it first")
    seq = await target(conn, folder, source, to)
    if seq > before:
        raise NotRewound(f"seq {seq:,} is ahead of the cursor, {before:,}: what lies between would be lost")
    await archive.rewind(conn, source.url, seq)
    return before, seq


async def target(conn: Connection, folder: Path, source: Source, to: str) -> int:
    """The seq meant: the one that was given, or the last that the archive knows of before that time. Those
    of a Jetstream are times."""
    if to.isdecimal():
        return int(to)
    try:
        moment = datetime.fromisoformat(to)
    except ValueError:
        raise NotRewound(f"{to} {NO_POINT}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if source.kind is SourceKind.JETSTREAM:
        return int(moment.timestamp() * 1_000_000)
    files = [folder / one.path for one in await archive.segments(conn)]
    with segment.connect(threads=1) as db:
        seq = fold.source_seq(db, files, source.url, moment.isoformat())
    if seq is None:
        raise NotRewound(
            f"the archive holds nothing from {source.url} before {moment.isoformat()}: give a seq instead"
        )
    return seq
