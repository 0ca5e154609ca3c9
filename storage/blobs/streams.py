"""Chunks on their way into a store: digested and counted as they pass, or gathered into pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable

from storage.blobs.store import Digest, Hasher, Mismatch

_SLICE = 262_144


class Source:
    """Chunks that are digested as they pass: exactly `size` bytes where that is given, or Mismatch.

    What the chunks themselves raised is kept in `error`, since a request that it broke off tells of that
    request alone.
    """

    def __init__(self, chunks: AsyncIterable[bytes], size: int | None) -> None:
        self._chunks = chunks
        self._size = size
        self._hasher = Hasher()
        self.error: BaseException | None = None

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        try:
            async for chunk in self._chunks:
                self._hasher.update(chunk)
                self._check(whole=False)
                yield chunk
            self._check(whole=True)
        except (Exception, asyncio.CancelledError) as error:
            self.error = error
            raise

    def _check(self, *, whole: bool) -> None:
        size = self._hasher.size
        if self._size is not None and (size > self._size or (whole and size < self._size)):
            told = f"{size} bytes" if whole else f"at least {size} bytes"
            raise Mismatch(f"{told} came where {self._size} were promised")

    def digest(self) -> Digest:
        """Of what has passed."""
        return self._hasher.digest()


async def digest_of(chunks: AsyncIterable[bytes]) -> Digest:
    source = Source(chunks, None)
    async for _ in source:
        pass
    return source.digest()


async def in_pieces(
    chunks: AsyncIterable[bytes],
    size: int,
    keep: Callable[[bytearray], Awaitable[None]],
    *,
    keep_rest: bool = False,
) -> None:
    """Hand on the chunks in pieces of `size` bytes or a little more, the last one smaller. With `keep_rest`
    also what had come when they broke off."""
    piece = bytearray()
    whole = False
    try:
        async for chunk in chunks:
            piece += chunk
            if len(piece) >= size:
                full, piece = piece, bytearray()
                await keep(full)
        whole = True
    finally:
        if piece and (whole or keep_rest):
            await keep(piece)


async def sliced(piece: bytes | bytearray) -> AsyncGenerator[bytes]:
    """What is held, in chunks that don't fill a socket's buffer at once."""
    view = memoryview(piece)
    for start in range(0, len(view), _SLICE):
        yield bytes(view[start : start + _SLICE])
