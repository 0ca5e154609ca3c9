"""Files that are asked for again and again, kept open for half a second.

Who listens, or drags a slider, asks for many parts of one sound, and to open it costs more than anything else
of ours that a part needs. Whether a blob may be had is not asked here, nor remembered; and what is removed
from the disk is gone from here as soon as the routes know of what was hidden.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from appview.media.body import Outlet
from storage.blobs.store import BlobStore, Key

KEEP_S = 0.5
MOST = 64


class OpenFile:
    """A Body: a blob's file. It closes when nobody has it any more."""

    __slots__ = ("_descriptor", "size")

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.lseek(self._descriptor, 0, os.SEEK_END)

    async def send(self, out: Outlet, start: int, stop: int) -> None:
        await out.file(self._descriptor, start, stop)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class OpenFiles:
    """At most MOST files of a store, for at most KEEP_S. Who is sent one has it for as long as that takes."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._files: dict[Key, OpenFile] = {}

    def open(self, key: Key) -> OpenFile | None:
        """The blob's file, which others may have, too; None where the store has no files. Raises
        FileNotFoundError."""
        file = self._files.get(key)
        if file is not None:
            return file
        path = self._store.path(key)
        if path is None:
            return None
        file = OpenFile(path)
        if not self._files:
            asyncio.get_running_loop().call_later(KEEP_S, self._files.clear)
        elif len(self._files) >= MOST:
            del self._files[next(iter(self._files))]
        self._files[key] = file
        return file
