"""`plyr blobs collect`: removes blobs that nobody needs, and uploads that stand still."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta

import psycopg

from bin import blob_store
from bin.settings import Settings
from bin.view import size
from storage.blobs.collector import Collected, collect
from storage.blobs.store import BlobFailed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        done = asyncio.run(_collect(settings))
    except BlobFailed as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    print(summary(done))
    if done.failed is not None:
        print(f"plyr: {done.failed}", file=sys.stderr)
        return 1
    return 0


async def _collect(settings: Settings) -> Collected:
    assert settings.database_url
    async with (
        await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn,
        blob_store.opened(settings) as store,
    ):
        grace, keep = timedelta(hours=settings.blob_grace_hours), timedelta(hours=settings.upload_keep_hours)
        return await collect(conn, store, grace=grace, keep=keep, now=datetime.now(UTC))


def summary(done: Collected) -> str:
    if not done.blobs and not done.uploads:
        return "Nothing to remove."
    blobs = "1 blob" if done.blobs == 1 else f"{done.blobs:,} blobs"
    uploads = "1 upload" if done.uploads == 1 else f"{done.uploads:,} uploads"
    return f"Removed {blobs} ({size(done.bytes)}) and {uploads} that stood still."
