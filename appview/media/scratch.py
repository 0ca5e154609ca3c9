"""Room for files that nobody needs any more when their maker is gone.

    with room(folder) as scratch: …     # scratch is an empty folder, removed behind the block

A maker that was killed leaves its room; the next one to come removes it. A room is in use while a lock on it
is held, and the kernel drops that with its holder.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from pathlib import Path

from storage.blobs.store import BlobStore, Key

_PREFIX = "room-"


@contextlib.contextmanager
def room(folder: Path) -> Generator[Path]:
    """A folder below `folder`, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    with _guarded(folder):
        made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
        descriptor = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


@contextlib.asynccontextmanager
async def staged_file(store: BlobStore, name: str, folder: Path) -> AsyncGenerator[Path]:
    """What is staged under `name`, as a file: the store's own, or a copy in a room below `folder`."""
    path = store.staged_path(name)
    async with _as_file(path, store.read_staged(name), folder) as file:
        yield file


@contextlib.asynccontextmanager
async def kept_file(store: BlobStore, key: Key, folder: Path) -> AsyncGenerator[Path]:
    """A blob as a file, likewise. Raises BlobMissing where only a copy could be made and it is not there."""
    async with _as_file(store.path(key), store.read(key), folder) as file:
        yield file


@contextlib.asynccontextmanager
async def _as_file(path: Path | None, chunks: AsyncIterator[bytes], folder: Path) -> AsyncGenerator[Path]:
    if path is not None:
        yield path
        return
    with room(folder) as place:
        copy = place / "copy"
        with await asyncio.to_thread(copy.open, "wb") as file:
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
        yield copy


def _sweep(folder: Path) -> None:
    with _guarded(folder):
        for left in folder.glob(f"{_PREFIX}*"):
            try:
                descriptor = os.open(left, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def _guarded(folder: Path) -> Generator[None]:
    """One at a time: between a folder and its lock nobody must come and sweep."""
    with (folder / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
