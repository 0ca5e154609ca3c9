"""What a blob store is: staged bytes that have a name, published ones that have the name of their content.

Contract, kept by every store and tested on each (`tests/integration/blobs`):

    stage or append+seal ─▶ a Digest: sha-256, CRC-32 and size of what now lies there, durably
    publish(name, key)   ─▶ the staged bytes are under their key, durably, and no longer staged
    read(key)            ─▶ exactly these bytes, or a part of them; never others

- What a call returned from survives kill -9 and, on a disk, a power cut. A `stage` that did not return left
  nothing behind under its name, or something that `unstage` and the collector remove.
- A key is written once. `publish` of a key that is there already drops the staged copy and changes nothing;
  repeated after a crash it ends in the same state.
- Nothing holds more than some megabytes of a blob in memory, however large it is.
- `delete` is for the collector alone (`storage.blobs.collector`), and deleting what is not there is no error.

Areas don't mix: what is served to everybody, what only a signed address gives, and what is not yet anything.

    BlobFailed
    ├── BlobMissing    there is no such blob, or staged name
    ├── BadOffset      append: the bytes before this offset are not all here
    ├── Mismatch       the bytes are not those that were promised
    └── StoreDown      the store does not answer, or refuses
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from isal import isal_zlib

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
# Four times as fast as zlib's.
_crc32: Callable[[bytes | bytearray | memoryview, int], int] = isal_zlib.crc32  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
_KEY = re.compile(r"([a-z]+)/([0-9a-f]{64})")


class BlobFailed(Exception):
    """A blob could not be stored, found, or read."""


class BlobMissing(BlobFailed):
    """There is no such blob, or nothing staged under this name."""


class BadOffset(BlobFailed):
    """Bytes cannot be appended here; `durable` is where the staged ones end."""

    def __init__(self, name: str, at: int, durable: int) -> None:
        super().__init__(f"staged {name} ends at {durable}, not at {at}")
        self.durable = durable


class Mismatch(BlobFailed):
    """The bytes are not those that were promised."""


class StoreDown(BlobFailed):
    """The store does not answer, or refuses; the same call may work later."""


class Area(StrEnum):
    """Where a blob lives. Audio and images are for everybody, the others for those with a signed address."""

    AUDIO = "audio"
    IMAGE = "image"
    EXPORT = "export"
    PRIVATE = "private"

    @property
    def public(self) -> bool:
        return self in (Area.AUDIO, Area.IMAGE)


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The whole name of a blob. `sha256` is in hex, of all its bytes."""

    area: Area
    sha256: str

    def __str__(self) -> str:
        return f"{self.area}/{self.sha256}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key that `str` wrote. Raises ValueError."""
        match = _KEY.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no key of a blob")
        return cls(Area(match[1]), match[2])


@dataclass(frozen=True, slots=True)
class Digest:
    """What was stored. `crc32` is what a ZIP wants to know of it; `sha256` in hex, as in a key."""

    sha256: str
    crc32: int
    size: int


class Hasher:
    """Digests bytes as they pass, sha-256 and CRC-32 in one go."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._crc32 = 0
        self.size = 0

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        self._sha256.update(chunk)
        self._crc32 = _crc32(chunk, self._crc32)
        self.size += len(chunk)

    def digest(self) -> Digest:
        return Digest(self._sha256.hexdigest(), self._crc32, self.size)


@dataclass(frozen=True, slots=True)
class Object:
    """A published blob as the store itself tells of it."""

    key: Key
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class StagedObject:
    """Staged bytes as the store tells of them: whole ones, or what was appended so far."""

    name: str
    size: int
    modified_at: datetime


class BlobStore(Protocol):
    """See the module. `name` is a staged name: letters, digits, `_` and `-`, at most 100."""

    async def stage(self, name: str, chunks: AsyncIterable[bytes], *, size: int | None = None) -> Digest:
        """Store all chunks under a staged name, in place of what was there. Raises Mismatch where `size` is
        given and they are another number of bytes, StoreDown."""
        ...

    async def append(self, name: str, chunks: AsyncIterable[bytes], *, at: int) -> int:
        """Add to what is staged, from offset `at` on; returns where it ends now.

        What came before `chunks` raised is kept: ask `staged_size`. One caller at a time for a name, and
        none after `seal`. Raises BadOffset.
        """
        ...

    async def staged_size(self, name: str) -> int:
        """How many bytes are durably staged; 0 where there is nothing."""
        ...

    async def seal(self, name: str) -> Digest:
        """Make one object of what was appended, ready to publish. It reads all of it. Raises BlobMissing."""
        ...

    def read_staged(self, name: str) -> AsyncIterator[bytes]:
        """The bytes of a name that was staged whole, or sealed. Raises BlobMissing."""
        ...

    async def publish(self, name: str, key: Key, *, mime: str) -> None:
        """Move staged bytes, whole or sealed, under their key, to be served as `mime`. Raises BlobMissing
        where neither of both is there."""
        ...

    async def unstage(self, name: str) -> None:
        """Drop whatever is staged under this name, also nothing."""
        ...

    def read(self, key: Key, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, or to the end. Raises BlobMissing."""
        ...

    async def stat(self, key: Key) -> Object | None: ...

    async def delete(self, key: Key) -> None: ...

    def list(self, area: Area) -> AsyncIterator[Object]:
        """Every blob of the area, in order of its key."""
        ...

    def list_staged(self) -> AsyncIterator[StagedObject]: ...

    def path(self, key: Key) -> Path | None:
        """The file that holds the blob, for stores whose blobs are files of this machine."""
        ...

    def staged_path(self, name: str) -> Path | None:
        """The file with what is staged whole, or sealed, for such stores."""
        ...

    async def link(self, key: Key, *, expires_s: int, mime: str, filename: str | None = None) -> str | None:
        """An address that gives this blob to whoever has it, for a while; None where there is no such."""
        ...


def check_name(name: str) -> str:
    """The staged name, if it is one: it becomes part of paths. Raises ValueError."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name for staged bytes")
    return name
