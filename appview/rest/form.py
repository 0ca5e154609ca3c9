"""A form on its way in, part by part, whatever the order; nothing of a file is held."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from appview.errors import IncompleteBody, PayloadTooLarge
from appview.incoming import Incoming
from appview.rest.answers import Refused
from appview.rest.multipart import BadForm, FormParser, Head, boundary_of

MAX_TEXT = 64 * 1024


class Form:
    """`next` moves to the next part, past what is left of the one before. Everything raises Refused 400 for
    what is no form, and IncompleteBody."""

    def __init__(self, body: Incoming, boundary: bytes, max_bytes: int) -> None:
        self._body = body
        self._left = max_bytes
        self._parser = FormParser(boundary)
        self._events: deque[Head | bytes] = deque()

    @classmethod
    def of(cls, request: web.Request, max_bytes: int) -> Form:
        """All of it, what nobody asked for included, has at most `max_bytes`."""
        try:
            boundary = boundary_of(request.headers.get(hdrs.CONTENT_TYPE, ""))
        except BadForm as error:
            raise Refused(400, str(error)) from None
        return cls(Incoming.of(request), boundary, max_bytes)

    @staticmethod
    async def plain(request: web.Request) -> dict[str, str] | None:
        """All of a form without files (application/x-www-form-urlencoded), or of none at all; None: it is of
        the other kind. Raises Refused 413."""
        if request.can_read_body and request.content_type != "application/x-www-form-urlencoded":
            return None
        try:
            raw = await Incoming.of(request).read(MAX_TEXT)
        except PayloadTooLarge:
            raise Refused(413, "the form is too large") from None
        return dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))

    @classmethod
    async def texts(cls, request: web.Request) -> dict[str, str]:
        """The texts of a small form of either kind; of a name that comes twice, the last. Raises Refused 413,
        too."""
        plain = await cls.plain(request)
        if plain is not None:
            return plain
        form, texts = cls.of(request, 2 * MAX_TEXT), dict[str, str]()
        while (head := await form.next()) is not None:
            if head.filename is None:
                texts[head.name] = await form.text()
        return texts

    async def next(self) -> Head | None:
        """The next part; None at the end."""
        while event := await self._event():
            if isinstance(event, Head):
                return event
        return None

    async def chunks(self, max_bytes: int) -> AsyncGenerator[bytes]:
        """The content of this part. Raises PayloadTooLarge."""
        count = 0
        while event := await self._event():
            if isinstance(event, Head):
                self._events.appendleft(event)
                return
            count += len(event)
            if count > max_bytes:
                raise PayloadTooLarge
            yield event

    async def text(self) -> str:
        """The content of a small part."""
        raw = b"".join([chunk async for chunk in self.chunks(MAX_TEXT)])
        return raw.decode(errors="replace")

    async def _event(self) -> Head | bytes | None:
        while not self._events:
            chunk = await self._body.next()
            if not chunk:
                if self._parser.finished:
                    return None
                raise IncompleteBody("the form ends in the middle")
            self._left -= len(chunk)
            if self._left < 0:
                raise Refused(413, "the form is too large")
            try:
                self._events.extend(self._parser.feed(chunk))
            except BadForm as error:
                raise Refused(400, f"invalid form: {error}") from None
        return self._events.popleft()
