"""`plyr archive dump`: every record that the appview shows, in one Parquet file for everybody."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bin.settings import Settings
from bin.view import size
from indexer.dumper import named, write
from lexicons.catalog import Catalog
from storage.segment import BrokenSegment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file",
        type=Path,
        help="where to write it (default: plyr-YYYY-MM-DD.parquet in the folder of the dumps)",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    file = args.file or named(settings.dump_folder, datetime.now(UTC))
    try:
        catalog = Catalog.load(settings.namespace)
        count = asyncio.run(_dump(settings, catalog, file))
    except BrokenSegment as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"plyr: cannot write {file}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(f"{file}: {count:,} records, {size(file.stat().st_size)}")
    return 0


async def _dump(settings: Settings, catalog: Catalog, file: Path) -> int:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        return await write(conn, catalog, file)
