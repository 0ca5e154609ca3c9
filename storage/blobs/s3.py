"""Blobs in S3, or in whatever speaks it.

    <private bucket>  staged/<name>                bytes on their way in, whole
                      appended/<name>/<offset>     pieces of an upload that comes in parts
                      export/<sha256>  private/<sha256>
    <public bucket>   audio/<sha256>   image/<sha256>

A body whose size is known goes up in one request as it comes in; any other in parts of 16 MiB, held one at a
time. What is held can be sent again, and is, three times; a stream cannot. Publishing is a copy inside of S3.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote

from storage.blobs.s3_api import LIMITS, Limits, S3Api, S3Config
from storage.blobs.store import (
    Area,
    BadOffset,
    BlobFailed,
    BlobMissing,
    Digest,
    Key,
    Object,
    StagedObject,
    check_name,
)
from storage.blobs.streams import Source, digest_of, in_pieces

_CACHED = "public, max-age=31536000, immutable"
_STAGED, _APPENDED = "staged/", "appended/"


@dataclass(frozen=True, slots=True)
class _Piece:
    path: str
    size: int


class S3Store:
    """A BlobStore in two buckets that are there already; use it as an async context manager."""

    def __init__(self, config: S3Config, limits: Limits = LIMITS) -> None:
        self._public, self._private = config.public_bucket, config.private_bucket
        self._limits = limits
        self._api = S3Api(config, limits)
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._api)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def stage(self, name: str, chunks: AsyncIterable[bytes], *, size: int | None = None) -> Digest:
        source = Source(chunks, size)
        try:
            await self._api.put(self._private, _STAGED + check_name(name), source, size)
        except BlobFailed:
            if source.error is not None:  # that is why the request broke off
                raise source.error from None
            raise
        return source.digest()

    async def append(self, name: str, chunks: AsyncIterable[bytes], *, at: int) -> int:
        end = await self.staged_size(name)
        if end != at:
            raise BadOffset(name, at, end)

        async def keep(piece: bytearray) -> None:
            nonlocal end
            await self._api.put_held(self._private, f"{_APPENDED}{name}/{end:016d}", piece)
            end += len(piece)

        await in_pieces(chunks, self._limits.part_bytes, keep, keep_rest=True)
        return end

    async def staged_size(self, name: str) -> int:
        head = await self._api.head(self._private, _STAGED + check_name(name))
        if head is not None:
            return int(head["ContentLength"])
        return sum(piece.size for piece in await self._pieces(name))

    async def seal(self, name: str) -> Digest:
        pieces = await self._pieces(check_name(name))
        if pieces and await self._api.head(self._private, _STAGED + name) is None:
            digest = await self.stage(name, self._joined(pieces), size=sum(piece.size for piece in pieces))
        else:  # sealed before, and perhaps a crash left some of the pieces
            digest = await digest_of(self.read_staged(name))
        await self._drop_pieces(name)
        return digest

    async def read_staged(self, name: str) -> AsyncIterator[bytes]:
        async for chunk in self._api.get(self._private, _STAGED + check_name(name)):
            yield chunk

    async def publish(self, name: str, key: Key, *, mime: str) -> None:
        source = _STAGED + check_name(name)
        if await self.stat(key) is None:
            head = await self._api.head(self._private, source)
            if head is None:
                raise BlobMissing(f"nothing is staged as {name}")
            described = {"ContentType": mime, "CacheControl": _CACHED if key.area.public else "private"}
            origin = {"Bucket": self._private, "Key": source}
            size = int(head["ContentLength"])
            await self._api.copy(origin, size, self._bucket(key.area), str(key), described)
        await self._api.remove(self._private, source)

    async def unstage(self, name: str) -> None:
        await self._api.remove(self._private, _STAGED + check_name(name))
        await self._drop_pieces(name)

    async def read(self, key: Key, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        if stop is None or start < stop:
            async for chunk in self._api.get(self._bucket(key.area), str(key), start, stop):
                yield chunk

    async def stat(self, key: Key) -> Object | None:
        head = await self._api.head(self._bucket(key.area), str(key))
        return None if head is None else Object(key, int(head["ContentLength"]), head["LastModified"])

    async def delete(self, key: Key) -> None:
        await self._api.remove(self._bucket(key.area), str(key))

    async def list(self, area: Area) -> AsyncIterator[Object]:
        async for found in self._api.listed(self._bucket(area), f"{area}/"):
            yield Object(Key.parse(found["Key"]), int(found["Size"]), found["LastModified"])

    async def list_staged(self) -> AsyncIterator[StagedObject]:
        async for found in self._api.listed(self._private, _STAGED):
            name = found["Key"].removeprefix(_STAGED)
            yield StagedObject(name, int(found["Size"]), found["LastModified"])
        growing: StagedObject | None = None
        async for found in self._api.listed(self._private, _APPENDED):
            name = found["Key"].removeprefix(_APPENDED).rpartition("/")[0]
            if growing is not None and growing.name != name:
                yield growing
                growing = None
            before = 0 if growing is None else growing.size
            growing = StagedObject(name, before + int(found["Size"]), found["LastModified"])
        if growing is not None:
            yield growing

    def path(self, key: Key) -> None:
        return None

    def staged_path(self, name: str) -> None:
        return None

    async def link(self, key: Key, *, expires_s: int, mime: str, filename: str | None = None) -> str | None:
        wanted = {"ResponseContentType": mime}
        if filename is not None:
            wanted["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        bucket = self._bucket(key.area)
        return await self._api.sign("get_object", bucket, str(key), expires_s=expires_s, **wanted)

    def _bucket(self, area: Area) -> str:
        return self._public if area.public else self._private

    async def _pieces(self, name: str) -> list[_Piece]:
        """What was appended, in order, up to the first hole, which only a crash while sealing leaves."""
        prefix = f"{_APPENDED}{name}/"
        pieces: list[_Piece] = []
        end = 0
        async for found in self._api.listed(self._private, prefix):
            piece = _Piece(str(found["Key"]), int(found["Size"]))
            if int(piece.path.removeprefix(prefix)) != end:
                break
            pieces.append(piece)
            end += piece.size
        return pieces

    async def _joined(self, pieces: list[_Piece]) -> AsyncIterator[bytes]:
        for piece in pieces:
            async for chunk in self._api.get(self._private, piece.path):
                yield chunk

    async def _drop_pieces(self, name: str) -> None:
        async for found in self._api.listed(self._private, f"{_APPENDED}{name}/"):
            await self._api.remove(self._private, found["Key"])
