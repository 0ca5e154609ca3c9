"""A blob store on a disk whose process dies at one of its calls.

Run as a program it makes one attempt at a job with such a store, and is really killed there:
`python -m tests.integration.media.mortal DSN FOLDER JOB LAST BEHIND`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import NoReturn
from uuid import UUID

from appview.jobs.attempt import Attempts
from appview.media.export import Exporter
from appview.media.mirror import Mirrors
from appview.media.mirror_fetch import MirrorConfig
from appview.media.opus import OpusRenditions
from bin.tasks import job_queue
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Digest, Key, Object
from storage.postgres import make_pool


class Killed(BaseException):
    """As a process ends that is killed: nobody catches it to write something down."""


def _raise() -> NoReturn:
    raise Killed


class Mortal(FilesystemStore):
    """Dies at its `last`-th call, before it does something, or `behind` that."""

    def __init__(self, folder: Path, last: int, *, behind: bool, die: Callable[[], object] = _raise) -> None:
        super().__init__(folder)
        self.calls = 0
        self._die = die
        self._last = last
        self._behind = behind

    def _call(self, *, behind: bool) -> None:
        self.calls += not behind
        if self.calls == self._last and behind == self._behind:
            self._die()

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


async def dies(dsn: str, folder: Path, id: UUID, last: int, *, behind: bool) -> bool:
    """Whether an attempt at the job, in a process of its own, is killed: it comes to a `last`-th call."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.media.mortal"),
        *(dsn, str(folder), str(id), str(last), "behind" if behind else "before"),
    )
    code = await process.wait()
    assert code in (0, -signal.SIGKILL)
    return code != 0


async def attempt(dsn: str, folder: Path, id: UUID, store: Mortal) -> None:
    async with (
        make_pool(dsn, max_size=3, name="mortal") as pool,
        GuardedClient(allow_loopback=True) as http,
    ):
        config = MirrorConfig(
            folder / "scratch", 2 << 20, account_bytes=9 << 20, total_bytes=9 << 20, max_duration_s=60
        )
        mirrors = Mirrors(pool, store, http, job_queue(), Catalog.load(), config)
        exporter = Exporter(pool, store, keep_days=7)
        renditions = OpusRenditions(pool, store, job_queue(), folder / "scratch")
        await Attempts(pool, [*mirrors.tasks, *exporter.tasks, *renditions.tasks]).make(id)


if __name__ == "__main__":
    dsn, folder, id, last, behind = sys.argv[1:]
    mortal = Mortal(
        Path(folder),
        int(last),
        behind=behind == "behind",
        die=lambda: os.kill(os.getpid(), signal.SIGKILL),
    )
    asyncio.run(attempt(dsn, Path(folder), UUID(id), mortal))
