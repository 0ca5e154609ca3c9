"""An answer that is there whole before anything of it is sent.

Of every answer aiohttp finds out whether it is chunked, compressed, without an end, or for a client of the
old HTTP, and copies it once more to put it behind its head. One that is bytes, to a request of today, is none
of these: its head is made in one step, and put before the pieces of its body as these are joined. To any
other request it is an answer like all. A page of tracks has 80 kB.
"""

from __future__ import annotations

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.http_writer import _serialize_headers
from multidict import CIMultiDict


class Whole(web.Response):
    """`pieces` are its body, one behind the other. It may be changed like any other until it is prepared."""

    def __init__(self, *pieces: bytes, status: int, headers: CIMultiDict[str]) -> None:
        super().__init__(body=pieces[0] if len(pieces) == 1 else None, status=status, headers=headers)
        self._pieces = pieces
        self._head: bytes | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if not self._is_usual(request):
            if not self.prepared:
                self.body = b"".join(self._pieces)
            return await super().prepare(request)
        headers = self._headers
        headers[hdrs.CONTENT_LENGTH] = str(sum(map(len, self._pieces)))
        headers[hdrs.DATE] = rfc822_formatted_time()
        headers[hdrs.SERVER] = SERVER_SOFTWARE
        self._req, self._keep_alive = request, True
        writer = self._payload_writer = request.writer
        await request._prepare_hook(self)
        self._head = _serialize_headers(f"HTTP/1.1 200 {self._reason}", headers)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        if self._head is None or self._payload_writer is None:
            await super().write_eof(data)
        else:
            await self._payload_writer.write(b"".join((self._head, *self._pieces)))
            await web.StreamResponse.write_eof(self)  # that of web.Response would write a body of its own

    def _is_usual(self, request: web.BaseRequest) -> bool:
        return (
            self._status == 200
            and request.method != hdrs.METH_HEAD
            and request.version == HttpVersion11
            and request.keep_alive
            and self._keep_alive is None
            and not (self._cookies or self._chunked or self._compression or self.prepared)
        )
