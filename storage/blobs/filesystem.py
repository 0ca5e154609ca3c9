"""Blobs as files below one folder.

    staged/<name>              bytes on their way in
    audio/ab/ab12…             published: two characters of the hash, then all of it
    image/ export/ private/    likewise

Published files are read-only. A file gets its final name by a rename on the same disk, after its bytes were
synced; then the folders are synced, too. Reading and writing go through the page cache in the calling
thread, as that is faster than handing each piece to another; what waits for the disk goes to a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterable, AsyncIterator, Generator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from storage.blobs.store import (
    Area,
    BadOffset,
    BlobMissing,
    Digest,
    Key,
    Object,
    StagedObject,
    StoreDown,
    check_name,
)
from storage.blobs.streams import Source, digest_of

_PIECE = 1 << 20
_MODE = 0o640
_READ_ONLY = 0o440


class FilesystemStore:
    """A BlobStore on this machine's disk. The folder is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._staged = folder / "staged"
        for part in (self._staged, *(folder / area for area in Area)):
            part.mkdir(parents=True, exist_ok=True)
        # Asked again and again for what is being listened to; making a path costs more than opening it.
        self._asked = lru_cache(maxsize=1024)(self._path)

    async def stage(self, name: str, chunks: AsyncIterable[bytes], *, size: int | None = None) -> Digest:
        path = self._staged / check_name(name)
        source = Source(chunks, size)
        descriptor = _open(path, os.O_TRUNC)
        try:
            async for chunk in source:
                _write(descriptor, chunk)
            await _sync(descriptor)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        await _sync_folder(self._staged)
        return source.digest()

    async def append(self, name: str, chunks: AsyncIterable[bytes], *, at: int) -> int:
        descriptor = _open(self._staged / check_name(name), os.O_APPEND)
        try:
            end = os.fstat(descriptor).st_size
            if end != at:
                raise BadOffset(name, at, end)
            try:
                async for chunk in chunks:
                    _write(descriptor, chunk)
                    end += len(chunk)
            finally:
                await _sync(descriptor)
                await _sync_folder(self._staged)
        finally:
            os.close(descriptor)
        return end

    async def staged_size(self, name: str) -> int:
        try:
            return (self._staged / check_name(name)).stat().st_size
        except FileNotFoundError:
            return 0

    async def seal(self, name: str) -> Digest:
        return await digest_of(self.read_staged(name))

    async def read_staged(self, name: str) -> AsyncIterator[bytes]:
        async for chunk in _read(self._staged / check_name(name), 0, None):
            yield chunk

    async def publish(self, name: str, key: Key, *, mime: str) -> None:
        source, target = self._staged / check_name(name), self._path(key)
        if target.exists():
            source.unlink(missing_ok=True)
            return
        with _failing():
            target.parent.mkdir(exist_ok=True)
            try:
                source.rename(target)
            except FileNotFoundError:
                if not target.exists():  # somebody else published the same name meanwhile
                    raise BlobMissing(f"nothing is staged as {name}") from None
            target.chmod(_READ_ONLY)
        for folder in (target.parent, target.parent.parent, self._staged):
            await _sync_folder(folder)

    async def unstage(self, name: str) -> None:
        (self._staged / check_name(name)).unlink(missing_ok=True)

    async def read(self, key: Key, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        async for chunk in _read(self._path(key), start, stop):
            yield chunk

    async def stat(self, key: Key) -> Object | None:
        try:
            found = self._path(key).stat()
        except FileNotFoundError:
            return None
        return Object(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    async def delete(self, key: Key) -> None:
        path = self._path(key)
        with _failing():
            path.unlink(missing_ok=True)
        if path.parent.exists():
            await _sync_folder(path.parent)

    async def list(self, area: Area) -> AsyncIterator[Object]:
        for folder in sorted((self._folder / area).iterdir()):
            for path in sorted(folder.iterdir()):
                key = Key.parse(f"{area}/{path.name}")
                if (found := await self.stat(key)) is not None:
                    yield found

    async def list_staged(self) -> AsyncIterator[StagedObject]:
        for path in sorted(self._staged.iterdir()):
            with contextlib.suppress(FileNotFoundError):  # published or dropped meanwhile
                found = path.stat()
                yield StagedObject(path.name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def path(self, key: Key) -> Path | None:
        return self._asked(key)

    def staged_path(self, name: str) -> Path | None:
        return self._staged / check_name(name)

    async def link(self, key: Key, *, expires_s: int, mime: str, filename: str | None = None) -> str | None:
        return None

    def _path(self, key: Key) -> Path:
        return self._folder / key.area / key.sha256[:2] / key.sha256


def _open(path: Path, flag: int) -> int:
    with _failing():
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flag, _MODE)


def _write(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    with _failing():
        while view:
            view = view[os.write(descriptor, view) :]


async def _read(path: Path, start: int, stop: int | None) -> AsyncIterator[bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BlobMissing(f"no blob {path.name}") from None
    try:
        end = os.fstat(descriptor).st_size if stop is None else stop
        while start < end:
            # A thread: what is not in the page cache would stop everything else.
            chunk = await asyncio.to_thread(os.pread, descriptor, min(_PIECE, end - start), start)
            if not chunk:
                return
            yield chunk
            start += len(chunk)
    finally:
        os.close(descriptor)


async def _sync(descriptor: int) -> None:
    with _failing():
        await asyncio.to_thread(os.fsync, descriptor)


async def _sync_folder(folder: Path) -> None:
    with _failing():
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        await _sync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _failing() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StoreDown(f"the disk refused: {error}") from error
