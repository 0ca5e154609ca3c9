"""HTTP below the routes: limits on a request's head, and errors that no handler ever sees.

aiohttp answers a malformed request in plain text and logs a traceback of it. Here it gets `{error, message}`
like every other failure (rule X2), and costs no log line: strangers must not fill the log.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from appview import errors
from appview.errors import Failure
from appview.xrpc.dispatch import failed

# AT-URIs have up to 8 KB, and a method takes fifty of them.
MAX_LINE_BYTES = 128 * 1024
MAX_HEADER_BYTES = 16 * 1024
# A body that nobody wants is read to its end all the same, for as long as this: a proxy that is cut off in
# the middle of passing it on has no ear for our answer.
LINGER_S = 60.0


class _Protocol(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if 400 <= status < 500:
            response: web.StreamResponse = failed(
                Failure(status, "InvalidRequest", "This is not a valid HTTP request.")
            )
        elif request.path.startswith("/xrpc"):
            super().handle_error(request, status, exc, message)  # for its log line
            response = failed(errors.internal("an unhandled error"))
        else:
            response = super().handle_error(request, status, exc, message)
        response.force_close()
        return response


class _Server(web.Server):
    def __init__(self, *args: Any, options: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, **options)
        self._options = options

    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._options)


class _Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        options = {
            "access_log": None,
            "max_line_size": MAX_LINE_BYTES,
            "max_field_size": MAX_HEADER_BYTES,
            "lingering_time": LINGER_S,
            # A few kilobytes can become gigabytes. Nobody who sends sound has anything to gain by that.
            "auto_decompress": False,
        }
        return _Server(made.request_handler, request_factory=made.request_factory, options=options)


def make_runner(app: web.Application, *, shutdown_timeout_s: float = 3.0) -> web.AppRunner:
    """A runner for the application that `build_app` made."""
    return _Runner(app, shutdown_timeout=shutdown_timeout_s)
