"""An MP3 that plays everywhere, made of sound that does not: published, and nobody's yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from appview.media import container, mp3
from appview.media.encode import Target
from appview.media.probe import Probe
from appview.media.scratch import room
from appview.media.transcode import transcode
from storage import sounds
from storage.blobs.publishing import publish
from storage.blobs.rows import Blob
from storage.blobs.store import Area, BlobStore
from storage.postgres import Pool
from storage.sounds import SoundHead

_CHUNK = 1 << 20


async def keep(pool: Pool, store: BlobStore, name: str, path: Path) -> tuple[Blob, SoundHead]:
    """An MP3 of ours, staged under `name` and published. Raises Unreadable, StoreDown, BeingDeleted."""
    told = await asyncio.to_thread(mp3.told, path)
    digest = await store.stage(name, chunks(path))
    async with pool.connection() as conn:
        blob = await publish(conn, store, name, Area.AUDIO, digest, mime=container.MP3.mime)
    kind = Target.MP3.value
    return blob, SoundHead(kind, kind, told.rate, told.channels, told.duration_s, playable=True)


async def make(pool: Pool, store: BlobStore, scratch: Path, name: str, path: Path, found: Probe) -> Blob:
    """Of a stranger's sound, by one encoder, without tags: other tracks may have the same bytes. Raises
    MediaFailed, StoreDown, BeingDeleted."""
    with room(scratch) as place:
        out = place / "mp3"
        await transcode(path, found, Target.MP3, out, workers=1)
        blob, head = await keep(pool, store, name, out)
    async with pool.connection() as conn, conn.transaction():
        await sounds.put(conn, blob.id, head)
    return blob


async def chunks(path: Path) -> AsyncIterator[bytes]:
    """What is in a file."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
