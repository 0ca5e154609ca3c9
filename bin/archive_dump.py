"""`plyr archive dump`: every record that the appview shows, in one Parquet file for everybody."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import orjson
import psycopg

from bin.settings import Settings
from bin.view import size
from lexicons.catalog import Catalog, CatalogError
from lexicons.datamodel import decode, to_json
from lexicons.syntax import Rev, tid_time_us
from storage.dump import dump
from storage.segment import BrokenSegment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file",
        type=Path,
        help="where to write it (default: dumps/plyr-YYYY-MM-DD.parquet in the data folder)",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    file = args.file or settings.data_dir / "dumps" / f"plyr-{datetime.now(UTC):%Y-%m-%d}.parquet"
    try:
        catalog = Catalog.load(settings.namespace)
        count = asyncio.run(_dump(settings, catalog, file))
    except (BrokenSegment, CatalogError) as error:
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
        return await dump(
            conn, file, catalog.collections.own, to_json=as_json, rev_us=lambda rev: tid_time_us(Rev(rev))
        )


def as_json(block: bytes) -> str:
    """A record as JSON text."""
    return orjson.dumps(to_json(decode(block))).decode()
