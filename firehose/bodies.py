"""How the answers of strangers are read: decompressed, no more than was allowed, and no slower.

The client library's errors become ours here (`firehose.fetch_errors`).
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import aiohttp

from firehose.dns import NoSuchName
from firehose.fetch_errors import NoSuchHost, TimedOut, TooLarge, TooSlow, Unreachable

_MAX_PIECE = 262_144


@contextmanager
def timed_out(url: str, limit_s: float | None, kind: type[TimedOut] = TimedOut) -> Generator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise kind(f"{url[:200]}: not done after {limit_s:g} s") from exc


@contextmanager
def translated(url: str) -> Generator[None]:
    """The client library's errors as ours."""
    try:
        yield
    except aiohttp.ClientConnectorDNSError as exc:
        kind = NoSuchHost if isinstance(exc.os_error, NoSuchName) else Unreachable
        raise kind(f"{url[:200]}: {exc.os_error}") from exc
    except (aiohttp.ClientError, OSError) as exc:
        raise Unreachable(f"{url[:200]}: {exc or type(exc).__name__}") from exc


async def receive(
    response: aiohttp.ClientResponse,
    take: Callable[[bytes], object],
    max_bytes: int,
    idle_s: float | None = None,
    min_rate: float = 0,
) -> None:
    """Hands the body to `take`, decompressed, in pieces that add up to at most `max_bytes`."""
    async with aclosing(pieces_of(response, max_bytes, idle_s, min_rate)) as pieces:
        async for piece in pieces:
            take(piece)


async def pieces_of(
    response: aiohttp.ClientResponse, max_bytes: int, idle_s: float | None, min_rate: float
) -> AsyncGenerator[bytes]:
    """The body, decompressed; the last piece before TooLarge is cut."""
    url = str(response.url)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise Unreachable(f"{url}: unasked-for content encoding {encoding[:40]!r}")
    if (response.content_length or 0) > max_bytes:
        raise TooLarge(f"{url}: {response.content_length} bytes, more than {max_bytes}")
    inflate = None if encoding == "identity" else zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    left, received, started = max_bytes, 0, time.monotonic()
    while True:
        with timed_out(url, idle_s, TooSlow):
            async with asyncio.timeout(idle_s):
                with translated(url):
                    data = await response.content.readany()
        if not data:
            break
        received += len(data)
        if received > max_bytes and inflate is not None:  # what comes out of it may be nothing at all
            raise TooLarge(f"{url}: more than {max_bytes} bytes")
        passed = time.monotonic() - started
        if idle_s is not None and passed > idle_s and received < min_rate * passed:
            raise TooSlow(f"{url}: {received} bytes in {passed:.0f} s")
        for piece in (data,) if inflate is None else _inflated(inflate, data, url):
            if len(piece) > left:
                yield piece[:left]
                raise TooLarge(f"{url}: more than {max_bytes} bytes")
            left -= len(piece)
            yield piece
    if inflate is not None and received and not inflate.eof:
        raise Unreachable(f"{url}: broken {encoding} body")


async def nothing() -> AsyncGenerator[bytes]:
    return
    yield


def _inflated(inflate: Any, data: bytes, url: str) -> Iterator[bytes]:
    """The data decompressed, piece by piece: a small body may stand for a very large one."""
    while data and not inflate.eof:
        try:
            yield inflate.decompress(data, _MAX_PIECE)
        except zlib.error as exc:
            raise Unreachable(f"{url}: broken compressed body") from exc
        data = inflate.unconsumed_tail
