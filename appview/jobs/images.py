"""Job `images.render`: renditions for pictures of ours that have not all of them.

Every picture gets its own as it is stored; these are from before a width was added, or from a store or
database that was put together again from parts. Where a picture is found (`image_url`) is computed from the
tables whenever it is told, so nothing else is behind.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from appview.jobs.tasks import Done, Run, TryLater, Work
from appview.media.failures import MediaFailed
from appview.media.images import WIDTHS, prepare, store_renditions
from appview.media.scratch import room
from storage import images
from storage.blobs.rows import BeingDeleted
from storage.blobs.store import Area, BlobMissing, BlobStore, Key, StoreDown
from storage.images import Image
from storage.postgres import Pool

AT_ONCE = 50


def render_images(pool: Pool, store: BlobStore, scratch: Path, *, at_once: int = AT_ONCE) -> Run:
    """Draws `at_once` of them; the next run goes on. One that cannot be drawn is noted, and tried again a
    week later."""

    async def run(work: Work) -> Done:
        counts = {"images": 0, "failed": 0}
        async with pool.connection() as conn:
            missing = await images.missing(conn, WIDTHS, limit=at_once)
        for number, image in enumerate(missing):
            await work.report("drawing", "Drawing renditions.", number / len(missing))
            try:
                await _draw(pool, store, scratch, image)
                counts["images"] += 1
            except (MediaFailed, BlobMissing) as error:
                async with pool.connection() as conn:
                    await images.not_drawn(conn, image.id, str(error))
                counts["failed"] += 1
            except StoreDown as error:
                raise TryLater(str(error)) from error
            except BeingDeleted:
                continue  # nobody needs the picture, or its old rendition, any more
        return Done("Drew what was missing.", counts)

    return run


async def _draw(pool: Pool, store: BlobStore, scratch: Path, image: Image) -> None:
    with room(scratch) as place:
        source, out = place / "picture", place / "drawn"
        out.mkdir()
        with await asyncio.to_thread(source.open, "wb") as file:
            async for chunk in store.read(Key(Area.IMAGE, image.sha256)):
                await asyncio.to_thread(file.write, chunk)
        # It was drawn by us, and may be larger than what people may send.
        prepared = await prepare(source, out, max_bytes=image.bytes)
        async with pool.connection() as conn:
            await store_renditions(conn, store, image.id, prepared)
