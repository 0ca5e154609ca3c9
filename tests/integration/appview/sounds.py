"""Blobs as an upload leaves them: object, row, owner."""

from __future__ import annotations

import psycopg

from storage.blobs import rows
from storage.blobs.store import Area, BlobStore
from tests.integration.blobs.test_contract import digest, publish


async def keep(
    dsn: str,
    store: BlobStore,
    data: bytes,
    *,
    area: Area = Area.AUDIO,
    mime: str = "audio/mpeg",
    kind: str = "track",
    owner: str,
) -> rows.Blob:
    """A published blob with an owner."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        blob = await rows.reserve(conn, area, digest(data), mime=mime)
        await publish(store, data, area)
        await rows.publish(conn, blob.id)
        await rows.claim(conn, blob.id, kind=kind, owner=owner)
    return blob


def owner_of(uri: str) -> str:
    """How blob_owner names a track."""
    did, _, rkey = uri.removeprefix("at://").split("/")
    return f"{did}/{rkey}"
