"""A body that can be cut anywhere, and the answer to whoever wants it or a part of it.

200 206 304 416, HEAD, multipart/byteranges: `appview.media.ranges` says which
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from appview.media import sendfile
from appview.media.ranges import Parts, Unchanged, Unsatisfiable, wanted

_BOUNDARY = "plyr-part-of-a-body"
# The head of what is smaller goes by itself: to hold it back costs more than its reader's second waking.
_HELD_BYTES = 256 << 10


class Outlet:
    """Where a body goes."""

    def __init__(self, request: web.Request, writer: AbstractStreamWriter) -> None:
        self._request = request
        self._writer = writer

    async def write(self, data: bytes) -> None:
        await self._writer.write(data)

    async def file(self, descriptor: int, start: int, stop: int) -> None:
        """A part of an open file, past this process."""
        await sendfile.send(self._request, self._writer, descriptor, start, stop)


class Body(Protocol):
    """Bytes whose number is known before the first of them."""

    @property
    def size(self) -> int: ...

    async def send(self, out: Outlet, start: int, stop: int) -> None:
        """Exactly these bytes. Raises ConnectionError when the client is gone, EOFError where they are not
        all to be had."""
        ...


async def answer(
    request: web.Request, body: Body, *, mime: str, etag: str, headers: Mapping[str, str]
) -> web.StreamResponse:
    """The answer to a GET or HEAD. `etag` is strong, with its quotes."""
    size = body.size
    told = CIMultiDict(headers)
    told[hdrs.ETAG] = etag
    told[hdrs.ACCEPT_RANGES] = "bytes"
    told[hdrs.CONTENT_TYPE] = mime
    want = wanted(request.headers, size=size, etag=etag)
    if isinstance(want, Unchanged):
        del told[hdrs.CONTENT_TYPE]
        return web.Response(status=304, headers=told)
    if isinstance(want, Unsatisfiable):
        told[hdrs.CONTENT_RANGE] = f"bytes */{size}"
        return web.Response(status=416, headers=told)
    parts: list[tuple[bytes, int, int]] = [(b"", 0, size)]  # bytes to go before a part of the body
    if isinstance(want, Parts):
        if len(want.ranges) == 1:
            ((start, stop),) = want.ranges
            parts = [(b"", start, stop)]
            told[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{size}"
        else:
            parts = _multipart(want, mime, size)
            told[hdrs.CONTENT_TYPE] = f"multipart/byteranges; boundary={_BOUNDARY}"
    length = sum([len(head) + stop - start for head, start, stop in parts])
    told[hdrs.CONTENT_LENGTH] = str(length)
    response = web.StreamResponse(status=206 if isinstance(want, Parts) else 200, headers=told)
    try:
        held = None
        if length >= _HELD_BYTES and request.method != hdrs.METH_HEAD:
            held = sendfile.hold(request.transport)
        writer = await response.prepare(request)
        assert writer is not None
        if request.method != hdrs.METH_HEAD:
            out = Outlet(request, writer)
            for head, start, stop in parts:
                if head:
                    await out.write(head)
                if start < stop:
                    await body.send(out, start, stop)
        await response.write_eof()
        if held is not None and request.transport is not None:
            sendfile.let_go(held)
    except (ConnectionError, EOFError):  # somebody seeked away, or it is too late to say what is wrong
        if request.transport is not None:
            request.transport.abort()
    return response


def _multipart(want: Parts, mime: str, size: int) -> list[tuple[bytes, int, int]]:
    parts = [
        (
            f"\r\n--{_BOUNDARY}\r\nContent-Type: {mime}\r\n"
            f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n\r\n".encode(),
            start,
            stop,
        )
        for start, stop in want.ranges
    ]
    return [*parts, (f"\r\n--{_BOUNDARY}--\r\n".encode(), 0, 0)]
