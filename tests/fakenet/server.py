"""A web server on a port of this machine that answers XRPC, and fails as it is told to.

    server.fail(Fault.HTML_429, "com.atproto.sync.getRepo")           # the next such request
    server.fail(Fault.SLOW, "com.atproto.sync.getRepo", did, times=3)
    server.chance = lambda nsid, did, n: …                            # or a schedule, asked each time

`fired` counts the faults that a client has really met.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.fakenet.http import Page, json_page


class Fault(StrEnum):
    """What may go wrong with an answer. Those from TRUNCATED on concern a repo's CAR alone."""

    HTML_429 = "429 as HTML, without headers"
    RETRY_AFTER = "429 with Retry-After"
    UNAVAILABLE = "503"
    HTML_200 = "an HTML page with status 200"
    CUT = "the connection ends within the body"
    SLOW = "a body that trickles"
    ENDLESS = "a body without an end"
    TRUNCATED = "a CAR without its last blocks"
    FLIPPED = "a CAR with a record's bytes changed"
    MISSING = "a CAR without one of its records"
    PRUNED = "a CAR without one of its tree nodes"
    FORGED = "a CAR signed with another key"
    OTHER = "a CAR of somebody else"
    STALE = "the repo as it was a while ago"


CAR_FAULTS = tuple(Fault)[tuple(Fault).index(Fault.TRUNCATED) :]
HTML = b"<html><head><title>Too Many Requests</title></head><body>Slow down.</body></html>"
Chance = Callable[[str, str | None, int], Fault | None]


def xrpc_error(error: str, message: str = "no", status: int = 400) -> Page:
    return json_page({"error": error, "message": message}, status)


class XrpcServer:
    """A subclass says what `page` answers when nothing goes wrong.

    `patience_s` is how long a trickling or endless body lasts if its reader does not give up first.
    """

    def __init__(self, *, patience_s: float = 60) -> None:
        self._runner: web.ServerRunner | None = None
        self._queued: dict[tuple[str, str | None], deque[Fault]] = {}
        self._patience_s = patience_s
        self._away = False
        self.chance: Chance | None = None
        self.fired: Counter[Fault] = Counter()
        self.asked: Counter[tuple[str, str | None]] = Counter()
        self.refused = 0  # requests while the server was away
        self.origin = ""

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(
            web.Server(self._answer, access_log=None), shutdown_timeout=0.1, handle_signals=False
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.origin = f"http://localhost:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def page(self, nsid: str, query: dict[str, str]) -> Page:
        raise NotImplementedError

    def spoil(self, fault: Fault, query: dict[str, str], good: Page) -> Page:
        """The answer with a fault in its content; overridden by who has such content."""
        raise NotImplementedError

    def fail(self, fault: Fault, nsid: str, did: str | None = None, times: int = 1) -> None:
        """Let the next requests for `nsid` (about `did`, if given) fail."""
        self._queued.setdefault((nsid, did), deque()).extend([fault] * times)

    def set_away(self, away: bool) -> None:
        """An outage: connections are closed without a word until it is over."""
        self._away = away

    def _next_fault(self, nsid: str, did: str | None) -> Fault | None:
        for key in ((nsid, did), (nsid, None)):
            if self._queued.get(key):
                return self._queued[key].popleft()
        return None if self.chance is None else self.chance(nsid, did, self.asked[nsid, did])

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._away:
            self.refused += 1
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        query = dict(request.query)
        nsid = request.path.removeprefix("/xrpc/")
        did = query.get("did") or query.get("repo")
        self.asked[nsid, did] += 1
        fault = self._next_fault(nsid, did)
        good = self.page(nsid, query)
        if good.delay_s:
            await asyncio.sleep(good.delay_s)
        if fault is None:
            return _response(good)
        if fault in CAR_FAULTS and good.status == 200:
            good, before = self.spoil(fault, query, good), good
            self.fired[fault] += good is not before
            return _response(good)
        return await self._broken(request, fault, good)

    async def _broken(self, request: web.BaseRequest, fault: Fault, good: Page) -> web.StreamResponse:
        html = {"Content-Type": "text/html; charset=utf-8"}
        pages = {
            Fault.HTML_429: Page(HTML, 429, html),
            Fault.RETRY_AFTER: Page(HTML, 429, html | {"Retry-After": "1"}),
            Fault.UNAVAILABLE: Page(b"upstream connect error", 503),
            Fault.HTML_200: Page(HTML, 200, html),
        }
        if fault in pages:
            self.fired[fault] += 1
            return _response(pages[fault])
        if fault in CAR_FAULTS:
            return _response(good)  # an error has no blocks to lose
        self.fired[fault] += 1
        response = web.StreamResponse(headers=dict(good.headers))
        if fault is Fault.CUT:
            response.content_length = len(good.body) + 1000
        with suppress(ConnectionError):  # whoever asked may be gone by now
            await response.prepare(request)
            await response.write(good.body[: len(good.body) // 2])
            if fault is not Fault.CUT:
                await self._drag(response, fault)
        if request.transport is not None:
            request.transport.abort()
        return response

    async def _drag(self, response: web.StreamResponse, fault: Fault) -> None:
        """Goes on until the reader has had enough, or patience is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._patience_s
        sent = 0
        while loop.time() < end:
            piece = b"\0" if fault is Fault.SLOW or sent > 64_000_000 else bytes(65536)
            await response.write(piece)
            sent += len(piece)
            await asyncio.sleep(0.2 if len(piece) == 1 else 0)


def _response(page: Page) -> web.Response:
    return web.Response(body=page.body, status=page.status, headers=page.headers)
