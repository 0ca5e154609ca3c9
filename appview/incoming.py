"""A request's body on its way in, chunk by chunk, so that its size is nobody's memory.

Contract: `chunks` gives every byte, once, in order, or raises

    PayloadTooLarge    more came than may, or was announced: then before anything was read
    IncompleteBody     the connection ended in the middle, nothing came for `IDLE_S`, or hardly anything

What is small, as JSON or a form without files, has a time in all (`read`, RequestTimeout): one byte now and
then would be no standing still.

A client that asks before it sends (`Expect: 100-continue`) is told to go ahead by the first read. So what is
refused before that costs it nothing: routes that stream have `expects` as their `expect_handler`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from aiohttp import ClientError, HttpVersion11, StreamReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from appview.errors import IncompleteBody, InvalidRequest, PayloadTooLarge, RequestTimeout

IDLE_S = 60.0
LEAST_BYTES_S = 1024  # once it was waited for `SLOW_S` in all: nobody uploads sound more slowly
SLOW_S = 60.0
SMALL_S = 60.0  # for all of a small one
_WAITS = web.RequestKey("client waits to be told to send", bool)


class Incoming:
    """`size` is what its sender announced, None for a body that just ends."""

    def __init__(
        self,
        content: StreamReader,
        *,
        size: int | None,
        media_type: str = "",
        idle_s: float = IDLE_S,
        slow_s: float = SLOW_S,
        go_ahead: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._content = content
        self._go_ahead = go_ahead
        self._idle_s = idle_s
        self._slow_s = slow_s
        self._waiting_since: float | None = None
        self._waiter: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._too_long = False
        self._waited_s = 0.0
        self._came = 0
        self.size = size
        self.media_type = media_type

    @classmethod
    def of(cls, request: web.BaseRequest, *, idle_s: float = IDLE_S, slow_s: float = SLOW_S) -> Incoming:
        """Raises InvalidRequest for one that is compressed."""
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
            raise InvalidRequest("a body with Content-Encoding is not taken: send it as it is")
        size, media_type = request.content_length, request.content_type

        async def go_ahead() -> None:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer itself begins later

        return cls(
            request.content,
            size=size,
            media_type=media_type,
            idle_s=idle_s,
            slow_s=slow_s,
            go_ahead=go_ahead if request.get(_WAITS) else None,
        )

    def check(self, max_bytes: int) -> None:
        """Raises PayloadTooLarge if more is announced."""
        if self.size is not None and self.size > max_bytes:
            raise PayloadTooLarge

    async def chunks(self, max_bytes: int) -> AsyncGenerator[bytes]:
        """See the module."""
        self.check(max_bytes)
        count = 0
        while chunk := await self.next():
            count += len(chunk)
            if count > max_bytes:
                raise PayloadTooLarge
            yield chunk

    async def next(self) -> bytes:
        """Whatever has come; nothing at the end. Raises IncompleteBody."""
        loop, waiter = asyncio.get_running_loop(), asyncio.current_task()
        self._waiting_since, self._waiter = loop.time(), waiter
        # One timer looks now and then: a timeout of its own for each chunk would cost as much as its CRC.
        if self._timer is None:
            self._timer = loop.call_later(self._idle_s, self._look)
        try:
            if self._go_ahead is not None:
                await self._go_ahead()
                self._go_ahead = None
            return self._counted(await self._content.readany(), loop.time() - self._waiting_since)
        except (OSError, ClientError, HttpProcessingError):
            raise IncompleteBody from None
        except asyncio.CancelledError:
            # As asyncio.timeout does: what others wish is still done.
            if not self._too_long or waiter is None or waiter.uncancel() > 0:
                raise
            raise IncompleteBody("nothing came for too long") from None
        finally:
            self._waiting_since = self._waiter = None

    def _counted(self, chunk: bytes, waited_s: float) -> bytes:
        self._came += len(chunk)
        self._waited_s += waited_s
        if chunk and self._waited_s > self._slow_s and self._came < self._waited_s * LEAST_BYTES_S:
            raise IncompleteBody("it comes too slowly")
        return chunk

    def _look(self) -> None:
        """Has nothing come for too long? Where nobody waits, whoever does next asks again."""
        self._timer = None
        if self._waiting_since is None or self._waiter is None:
            return
        loop = asyncio.get_running_loop()
        left_s = self._waiting_since + self._idle_s - loop.time()
        if left_s <= 0:
            self._too_long = True
            self._waiter.cancel()
        else:
            self._timer = loop.call_later(left_s, self._look)

    async def read(self, max_bytes: int, *, within_s: float = SMALL_S) -> bytes:
        """All of a small one. Raises what `chunks` does, and RequestTimeout."""
        content = self._content
        if content.is_eof() and content.exception() is None:  # it came with its head, as most do
            raw = content.read_nowait()
            if len(raw) > max_bytes:
                raise PayloadTooLarge
            return raw
        try:
            async with asyncio.timeout(within_s):
                return b"".join([chunk async for chunk in self.chunks(max_bytes)])
        except TimeoutError:
            raise RequestTimeout from None


async def expects(request: web.Request) -> None:
    """Leaves the answer to `Expect` to whoever reads the body. Raises HTTPExpectationFailed for a wish that
    nobody knows."""
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        raise web.HTTPExpectationFailed
    request[_WAITS] = request.version == HttpVersion11
