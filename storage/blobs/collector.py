"""Removes what nobody needs: blobs without an owner after their grace, uploads that stand still and for which
no job waits.

Contract: only the collector deletes from a store, and only what it took under a lease (`rows.take`). Nobody
can own a blob from the moment it is taken on; a deletion that was interrupted is taken up again when its
lease has run out, and no deletion begins so late that it could end behind its lease.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.blobs import rows
from storage.blobs.store import BlobFailed, BlobStore, StagedObject
from storage.postgres import Connection

_BATCH = 50
_LEASE_S = 600.0
_DELETE_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Collected:
    """What went. `failed`: why the store refused, if it did; the rest comes next time."""

    blobs: int = 0
    bytes: int = 0
    uploads: int = 0
    failed: str | None = None


def stale(
    staged: Iterable[StagedObject], touched: Mapping[str, datetime], now: datetime, keep: timedelta
) -> list[str]:
    """Which staged names to drop: those whose bytes did not change for `keep`, and whose row, where there is
    one, was not touched for as long. Rows without bytes likewise."""
    changed = {each.name: each.modified_at for each in staged}
    names = sorted(changed.keys() | touched.keys())
    moments = {name: [m[name] for m in (changed, touched) if name in m] for name in names}
    return [name for name in names if max(moments[name]) < now - keep]


async def collect(
    conn: Connection, store: BlobStore, *, grace: timedelta, keep: timedelta, now: datetime
) -> Collected:
    """Remove all that is due. `conn` is in no transaction: each step is one of its own."""
    blobs = size = uploads = 0
    try:
        while taken := await rows.take(conn, grace_s=grace.total_seconds(), lease_s=_LEASE_S, limit=_BATCH):
            deadline = time.monotonic() + _LEASE_S - 2 * _DELETE_TIMEOUT_S
            for blob in taken:
                if time.monotonic() > deadline:
                    break
                async with asyncio.timeout(_DELETE_TIMEOUT_S):
                    await store.delete(blob.key)
                await rows.forget(conn, blob.id)
                blobs, size = blobs + 1, size + blob.bytes
        uploads = await _drop_stale(conn, store, keep, now)
    except (BlobFailed, TimeoutError) as error:
        return Collected(blobs, size, uploads, str(error) or "the store took too long to delete")
    return Collected(blobs, size, uploads)


async def _drop_stale(conn: Connection, store: BlobStore, keep: timedelta, now: datetime) -> int:
    touched = {upload.name: upload.touched_at for upload in await rows.uploads(conn)}
    staged = [each async for each in store.list_staged()]
    dropped = 0
    for name in stale(staged, touched, now, keep):
        if name in touched and not await rows.end_stale_upload(conn, name, keep_s=keep.total_seconds()):
            continue
        await store.unstage(name)
        dropped += 1
    return dropped
