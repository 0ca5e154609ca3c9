"""`plyr archive seal`: put everything that waits into files of the archive now."""

from __future__ import annotations

import argparse
import asyncio
import sys

import psycopg

from bin.settings import Settings
from bin.view import size
from indexer.archivist import seal_all
from storage.segment import BrokenSegment, Segment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes settings alone


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        done = asyncio.run(_seal(settings))
    except (BrokenSegment, OSError) as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    for one in done:
        print(f"{one.path}: {one.rows:,} events, {size(one.bytes)}, sha-256 {one.sha256}")
    if not done:
        print("Nothing waits.")
    return 0


async def _seal(settings: Settings) -> list[Segment]:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        return await seal_all(conn, settings.archive_folder, entries=settings.seal_entries)
