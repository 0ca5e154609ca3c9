"""From staged bytes to a blob that may be owned."""

from __future__ import annotations

from storage.blobs import rows
from storage.blobs.rows import Blob
from storage.blobs.store import Area, BlobStore, Digest
from storage.postgres import Connection


async def publish(
    conn: Connection, store: BlobStore, name: str, area: Area, digest: Digest, *, mime: str
) -> Blob:
    """The published blob with what is staged under `name`, whose digest the caller has from staging it.

    Nobody owns it yet: claim it within the grace. Idempotent, also after a crash in the middle. `conn` is in
    no transaction, none is open while the store works. Raises BlobMissing, StoreDown, and BeingDeleted: try
    again in a moment, the staged bytes are still there.
    """
    blob = await rows.reserve(conn, area, digest, mime=mime)
    await store.publish(name, blob.key, mime=blob.mime)
    await rows.publish(conn, blob.id)
    found = await rows.get(conn, blob.id)
    assert found is not None  # its grace has only begun
    return found
