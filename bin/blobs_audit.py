"""`plyr blobs audit`: compares what the store holds, byte for byte, with what the rows say."""

from __future__ import annotations

import argparse
import asyncio
import sys

import psycopg

from bin import blob_store
from bin.settings import Settings
from storage.blobs.audit import audit
from storage.blobs.store import BlobFailed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fast", action="store_true", help="compare names and sizes only, and do not read every byte"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 if anything is not right."""
    try:
        right, wrong = asyncio.run(_audit(settings, content=not args.fast))
    except BlobFailed as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    checked = "1 blob is" if right == 1 else f"{right:,} blobs are"
    print(f"{checked} as their rows say." if not wrong else f"{checked} right, {wrong:,} not.")
    return 1 if wrong else 0


async def _audit(settings: Settings, *, content: bool) -> tuple[int, int]:
    assert settings.database_url
    right = wrong = 0
    async with (
        await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn,
        blob_store.opened(settings) as store,
    ):
        async for finding in audit(conn, store, content=content):
            if finding is None:
                right += 1
            else:
                wrong += 1
                print(f"{finding.fault:<8}  {finding.key}  {finding.detail}", flush=True)
    return right, wrong
