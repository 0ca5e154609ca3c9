"""`plyr archive status`: what the archive holds and what waits; `--check` reads every file."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import psycopg

from bin.settings import Settings
from bin.view import size
from indexer.explain import span
from storage import archive, outbox, segment
from storage.archive import Waiting
from storage.segment import BrokenSegment, Segment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="read every file and compare its sha-256")


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        segments, waiting, kept = asyncio.run(_ask(settings))
        if args.check:
            for one in segments:
                segment.verify(settings.archive_folder, one)
    except BrokenSegment as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    print(summary(settings.archive_folder, segments, waiting, kept, checked=args.check))
    return 0


async def _ask(settings: Settings) -> tuple[list[Segment], Waiting, tuple[int, int]]:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        return await archive.segments(conn), await archive.waiting(conn), await outbox.bounds(conn)


def summary(
    folder: Path, segments: list[Segment], waiting: Waiting, kept: tuple[int, int], *, checked: bool
) -> str:
    rows, total = segment.total(segments)
    files = "1 file" if len(segments) == 1 else f"{len(segments):,} files"
    lines = [f"{folder}: {files}, {rows:,} events, {size(total)}" if segments else f"{folder}: no file yet"]
    if segments:
        newest = segments[-1]
        lines.append(f"newest: {newest.path}, seqs {newest.first_seq:,} to {newest.last_seq:,}")
    if waiting.entries:
        events = "1 event" if waiting.entries == 1 else f"{waiting.entries:,} events"
        lines.append(f"waiting: {events}, the oldest for {span(waiting.age_s)}")
    first, head = kept
    if first <= head:
        lines.append(f"the live feed can resume from seq {first - 1:,} on, its newest is {head:,}")
    if checked and segments:
        lines.append("Every file is byte for byte what was sealed.")
    return "\n".join(lines)
