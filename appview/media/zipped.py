"""A ZIP of blobs on its way to a person: bytes from the store, put together as they go.

Nothing is built before, nothing is kept: on this machine the blobs go from file to socket past this process.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from appview.media.body import Outlet
from appview.media.ziplayout import Layout
from storage.blobs.store import BlobFailed, BlobStore, Key


@dataclass(frozen=True, slots=True)
class ZipBody:
    """A Body. A member is a blob, or bytes that are held, as a text about the others. `may_go_on` is asked
    before each blob: what was taken down on the way ends there."""

    layout: Layout[Key | bytes]
    store: BlobStore
    may_go_on: Callable[[], Awaitable[bool]] | None = None

    @property
    def size(self) -> int:
        return self.layout.size

    async def send(self, out: Outlet, start: int, stop: int) -> None:
        for piece in self.layout.pieces(start, stop):
            if isinstance(piece, bytes):
                await out.write(piece)
            elif isinstance(piece.source, bytes):
                await out.write(piece.source[piece.start : piece.stop])
            else:
                if self.may_go_on is not None and not await self.may_go_on():
                    raise EOFError("it is not to be had any more")
                await self._blob(out, piece.source, piece.start, piece.stop)

    async def _blob(self, out: Outlet, key: Key, start: int, stop: int) -> None:
        """Raises EOFError where the store does not have it all: the client must not take it for whole."""
        path = self.store.path(key)
        if path is not None:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise EOFError(f"no blob {key}") from None
            try:
                await out.file(descriptor, start, stop)
            finally:
                os.close(descriptor)
            return
        try:
            async for chunk in self.store.read(key, start, stop):
                await out.write(chunk)
                start += len(chunk)
        except BlobFailed as error:
            raise EOFError(str(error)) from error
        if start != stop:
            raise EOFError(f"blob {key} is shorter than its row says")
