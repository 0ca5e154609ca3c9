"""A blob store on a disk whose process dies at one of its calls."""

from __future__ import annotations

from collections.abc import AsyncIterable
from pathlib import Path

from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Digest, Key, Object


class Killed(BaseException):
    """As a process ends that is killed: nobody catches it to write something down."""


class Mortal(FilesystemStore):
    """Dies at its `last`-th call, before it does something, or `behind` that."""

    def __init__(self, folder: Path, last: int, *, behind: bool) -> None:
        super().__init__(folder)
        self.calls = 0
        self._last = last
        self._behind = behind

    def _call(self, *, behind: bool) -> None:
        self.calls += not behind
        if self.calls == self._last and behind == self._behind:
            raise Killed

    async def stage(self, name: str, chunks: AsyncIterable[bytes], *, size: int | None = None) -> Digest:
        self._call(behind=False)
        digest = await super().stage(name, chunks, size=size)
        self._call(behind=True)
        return digest

    async def append(self, name: str, chunks: AsyncIterable[bytes], *, at: int) -> int:
        self._call(behind=False)
        end = await super().append(name, chunks, at=at)
        self._call(behind=True)
        return end

    async def seal(self, name: str) -> Digest:
        self._call(behind=False)
        digest = await super().seal(name)
        self._call(behind=True)
        return digest

    async def publish(self, name: str, key: Key, *, mime: str) -> None:
        self._call(behind=False)
        await super().publish(name, key, mime=mime)
        self._call(behind=True)

    async def stat(self, key: Key) -> Object | None:
        self._call(behind=False)
        found = await super().stat(key)
        self._call(behind=True)
        return found
