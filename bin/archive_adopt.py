"""`plyr archive adopt`: the files of the archive, entered into a database that does not know them."""

from __future__ import annotations

import argparse
import asyncio
import sys

import psycopg

from bin.settings import Settings
from bin.view import size
from storage import archive, segment
from storage.segment import BrokenSegment, Segment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes settings alone


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        done = asyncio.run(_adopt(settings))
    except (BrokenSegment, OSError) as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    if not done:
        print(f"{settings.archive_folder}: nothing that follows what the database knows.")
        return 0
    rows, total = segment.total(done)
    files = "1 file" if len(done) == 1 else f"{len(done):,} files"
    print(f"{files}, {rows:,} events, {size(total)}, up to seq {done[-1].last_seq:,}.")
    print("plyr replay --promote computes the tables from them.")
    return 0


async def _adopt(settings: Settings) -> list[Segment]:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        return await archive.adopt(conn, settings.archive_folder)
