"""A picture in a form: drawn anew, and stored. Nobody owns it yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path, PurePath

from aiohttp import web

from appview.errors import PayloadTooLarge
from appview.media import scratch
from appview.media.attempt import Place
from appview.media.failures import MediaFailed
from appview.media.images import prepare, store_image
from appview.media.receive import MIB
from appview.rest.answers import Refused, problem
from appview.rest.form import Form
from storage.blobs.rows import Blob

DRAWN_AT_ONCE = 2  # each may take a gigabyte
COVERS = (".jpg", ".jpeg", ".png", ".webp")


class Pictures:
    """`max_bytes` of one as it is sent."""

    def __init__(self, place: Place, max_bytes: int) -> None:
        self._place = place
        self._max_bytes = max_bytes
        self._drawing = asyncio.Semaphore(DRAWN_AT_ONCE)

    async def cover(self, request: web.Request) -> Blob:
        """What the part `image` of a form has. Raises Refused 400, 413, 422, StoreDown, BeingDeleted."""
        form = Form.of(request, self._max_bytes + MIB)
        with scratch.room(self._place.scratch) as room:
            while (head := await form.next()) is not None:
                if head.name != "image" or not head.filename:
                    continue
                suffix = PurePath(head.filename).suffix.lower()
                if suffix not in COVERS:
                    raise _unsupported(f"unsupported image type: {suffix or head.filename}")
                picture = room / "picture"
                try:
                    await written(form.chunks(self._max_bytes), picture)
                except PayloadTooLarge:
                    raise Refused(413, f"image too large (max {self._max_bytes // MIB}MB)") from None
                try:
                    return await self.drawn(picture, room)
                except MediaFailed as error:
                    raise _unsupported(str(error)) from None
        raise Refused(422, [problem("Object missing required field `image`", "body")])

    async def drawn(self, picture: Path, room: Path) -> Blob:
        """What becomes of the picture in a file. Raises MediaFailed."""
        out = room / "drawn"
        out.mkdir()
        async with self._drawing:
            prepared = await prepare(picture, out)
            # Within: a slow store must not hold all connections of the pool.
            async with self._place.pool.connection() as conn:
                return await store_image(conn, self._place.store, prepared)


def _unsupported(text: str) -> Refused:
    return Refused(400, f"{text}. supported: {', '.join(COVERS)}")


async def written(chunks: AsyncIterator[bytes], path: Path) -> None:
    """A file of what comes."""
    with await asyncio.to_thread(path.open, "wb") as file:
        async for chunk in chunks:
            await asyncio.to_thread(file.write, chunk)
