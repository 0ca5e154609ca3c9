"""Compares what a store holds with what the rows say, and the bytes with their names.

Both sides come in order of their keys and are walked side by side, so it needs little memory for any number
of blobs. While others write, a row and its object are seen at different moments: what looks amiss is looked
at once more, by itself, before it is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from storage.blobs import rows
from storage.blobs.rows import Blob, State
from storage.blobs.store import Area, BlobMissing, BlobStore, Key, Object
from storage.blobs.streams import digest_of
from storage.postgres import Connection

_PAGE = 1000


class Fault(StrEnum):
    """`missing`: a published row without its object. `stray`: an object without a row. `size`, `content`:
    the object is not what the row says. `owners`: a count that is not the number of owners."""

    MISSING = "missing"
    STRAY = "stray"
    SIZE = "size"
    CONTENT = "content"
    OWNERS = "owners"


@dataclass(frozen=True, slots=True)
class Finding:
    key: Key
    fault: Fault
    detail: str


def judge(row: Blob | None, found: Object | None) -> tuple[Fault, str] | None:
    """What is wrong with a row and an object of the same key; None: nothing."""
    if row is None:
        return None if found is None else (Fault.STRAY, f"{found.size} bytes, no row")
    if found is None:
        return (Fault.MISSING, f"{row.bytes} bytes, no object") if row.state is State.PUBLISHED else None
    if row.bytes != found.size:
        return Fault.SIZE, f"{found.size} bytes, {row.bytes} by its row"
    return None


async def audit(conn: Connection, store: BlobStore, *, content: bool) -> AsyncIterator[Finding | None]:
    """A Finding for each blob that is not right, None for each that is. With `content` every byte is read."""
    for area in Area:
        async for row, found in _side_by_side(conn, store, area):
            key = row.key if row is not None else found.key if found is not None else None
            assert key is not None
            if judge(row, found) is not None:
                row, found = await rows.find(conn, key), await store.stat(key)
            wrong = judge(row, found)
            if wrong is None and content and row is not None and found is not None:
                wrong = await _read(store, row)
            yield None if wrong is None else Finding(key, *wrong)
    for row in await rows.miscounted(conn):
        yield Finding(row.key, Fault.OWNERS, f"{row.owners} counted")


async def _read(store: BlobStore, row: Blob) -> tuple[Fault, str] | None:
    try:
        digest = await digest_of(store.read(row.key))
    except BlobMissing:  # deleted meanwhile, or it could not be listed
        return None
    if digest.sha256 != row.sha256:
        return Fault.CONTENT, f"its bytes have the sha-256 {digest.sha256}"
    if digest.crc32 != row.crc32:
        return Fault.CONTENT, f"its bytes have the CRC-32 {digest.crc32:08x}, {row.crc32:08x} by its row"
    return None


async def _side_by_side(
    conn: Connection, store: BlobStore, area: Area
) -> AsyncIterator[tuple[Blob | None, Object | None]]:
    """Rows and objects of an area by key, each pair or single one once."""
    objects = store.list(area)
    found = await anext(objects, None)
    async for row in _rows(conn, area):
        while found is not None and found.key < row.key:
            yield None, found
            found = await anext(objects, None)
        if found is not None and found.key == row.key:
            yield row, found
            found = await anext(objects, None)
        else:
            yield row, None
    while found is not None:
        yield None, found
        found = await anext(objects, None)


async def _rows(conn: Connection, area: Area) -> AsyncIterator[Blob]:
    after = ""
    while page := await rows.page(conn, area, after=after, limit=_PAGE):
        for row in page:
            yield row
        after = page[-1].sha256
