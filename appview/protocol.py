"""HTTP below the routes: limits on connections and on a request's head, and errors that no handler ever sees.

A head that has begun has `HEAD_S` to be whole, as has the first of a connection; else a client that sends a
byte a minute would keep its connection, and up to 2 MB of head, for an hour. Between two requests a
connection may rest for that hour, as proxies have it. What time a body has is its reader's to say
(`appview.incoming`).

aiohttp answers a malformed request in plain text and logs a traceback of it. Here it gets `{error, message}`
like every other failure (rule X2), and costs no log line: strangers must not fill the log.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from appview import errors
from appview.errors import Failure, RequestTimeout
from appview.xrpc.dispatch import failed

log = structlog.get_logger()

# AT-URIs have up to 8 KB, and a method takes fifty of them.
MAX_LINE_BYTES = 128 * 1024
MAX_HEADER_BYTES = 16 * 1024
HEAD_S = 60.0
# A body that nobody wants is read to its end all the same, for as long as this: a proxy that is cut off in
# the middle of passing it on has no ear for our answer.
LINGER_S = 60.0


class _Protocol(RequestHandler):
    """`_looks` is set while somebody will look whether a head is late. `_partly`: how many requests had come
    when bytes of the next one did, and not all of its head."""

    __slots__ = ("_head_s", "_looks", "_partly")

    def __init__(self, *args: Any, head_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_s = head_s
        self._looks: asyncio.TimerHandle | None = None
        self._partly = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        assert isinstance(self._manager, _Server)
        if self._manager.is_full():
            transport.abort()
            return
        super().connection_made(transport)
        self._look_later()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._looks is not None:
            self._looks.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiter = self._waiter
        if waiter is not None and not waiter.done():  # for a request, which these bytes did not complete
            self._partly = self._request_count
            if self._looks is None:
                self._look_later()

    def _look_later(self) -> None:
        self._looks = self._loop.call_later(self._head_s, self._look, self._request_count)

    def _look(self, count: int) -> None:
        """End the connection if no request has come since there were `count`."""
        self._looks = None
        begun, waiter = self._partly == self._request_count, self._waiter
        if count != self._request_count or waiter is None or waiter.done():
            if begun:  # another one meanwhile
                self._look_later()
        elif begun:
            error = RequestTimeout()
            self._request_count += 1
            self._messages.append((_ErrInfo(error.status, error, error.message), EMPTY_PAYLOAD))
            waiter.set_result(None)
        else:
            self.force_close()  # who connected in advance would take an answer for that of the next request

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError) and request.transport is None:
            raise exc  # whoever asked has left, which ends this without a word
        if isinstance(exc, RequestTimeout):
            response: web.StreamResponse = failed(errors.failure_of(exc))
        elif 400 <= status < 500:
            response = failed(Failure(status, "InvalidRequest", "This is not a valid HTTP request."))
        elif request.path.startswith("/xrpc"):
            super().handle_error(request, status, exc, message)  # for its log line
            response = failed(errors.internal("an unhandled error"))
        else:
            response = super().handle_error(request, status, exc, message)
        response.force_close()
        return response


class _Server(web.Server):
    """Takes no more than `most` connections, and hangs up on whoever comes then: a process that has no file
    to open for the next one logs a thousand tracebacks each second (asyncio's), and does nothing else."""

    def __init__(self, *args: Any, options: dict[str, Any], most: int | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, **options)
        self._options = options
        self._most = most
        self._was_full = False

    def is_full(self) -> bool:
        if self._most is None:
            return False
        count = len(self._connections)
        if count >= self._most:
            if not self._was_full:  # strangers must not fill the log
                log.warning("no more connections are taken", most=self._most)
            self._was_full = True
            return True
        if count < 0.9 * self._most:
            self._was_full = False
        return False

    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._options)


class _Runner(web.AppRunner):
    def __init__(
        self, app: web.Application, *, head_s: float, most: int | None, shutdown_timeout: float
    ) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)
        self._head_s = head_s
        self._most = most

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        options = {
            "head_s": self._head_s,
            "access_log": None,
            "max_line_size": MAX_LINE_BYTES,
            "max_field_size": MAX_HEADER_BYTES,
            "lingering_time": LINGER_S,
            # A few kilobytes can become gigabytes. Nobody who sends sound has anything to gain by that.
            "auto_decompress": False,
        }
        return _Server(
            made.request_handler, request_factory=made.request_factory, options=options, most=self._most
        )


def make_runner(
    app: web.Application,
    *,
    head_s: float = HEAD_S,
    most_connections: int | None = None,
    shutdown_timeout_s: float = 3.0,
) -> web.AppRunner:
    """A runner for the application that `build_app` made."""
    return _Runner(app, head_s=head_s, most=most_connections, shutdown_timeout=shutdown_timeout_s)
