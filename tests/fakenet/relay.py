"""A relay as a real websocket server: keeps a log of frames, serves it by cursor, and misbehaves.

    async with FakeRelay() as relay:
        relay.publish(1, 2, 3)                      # frames with these seqs, to whoever listens
        relay.script.append(Refuse(429, {"Retry-After": "1"}))   # for the next dial, one each

Without a script a dial is served as the event-stream specification says (/specs/event-stream).
With `listing`, its port also answers queries about the accounts that pass through it, as relays do.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.fakenet.http import Page
from tests.fakenet.repo import error_frame, frame


def numbered(seq: int, size: int = 0) -> bytes:
    """An `#identity` frame with this seq, blown up by `size` bytes."""
    body = {"did": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "time": "2026-07-04T12:00:00Z"}
    return frame("#identity", body | ({"padding": b"\0" * size} if size else {}), seq)


@dataclass(frozen=True)
class Refuse:
    """Answer the handshake with an HTTP status."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Say:
    """Send these messages, whatever they are, and then close with `code`, or serve on if it is None."""

    messages: tuple[bytes | str | list[bytes], ...] = ()
    code: int | None = 1000
    reason: str = ""


Act = Callable[[ServerConnection], Awaitable[None]]
Listing = Callable[[str, dict[str, str]], Page]  # NSID and parameters → the answer


@dataclass(frozen=True)
class Dial:
    at: float
    path: str
    cursor: int | None


class FakeRelay:
    """`log` holds frames by seq from `oldest` on; `dials` what was asked for; `sent` counts messages."""

    def __init__(self, ssl_context: ssl.SSLContext | None = None, listing: Listing | None = None) -> None:
        self._ssl = ssl_context
        self._listing = listing
        self.strict = True  # False: a cursor ahead of the log is served live, as relays in Go do (rule A8)
        self._server: Server | None = None
        self._live: set[asyncio.Queue[bytes]] = set()
        self.log: dict[int, bytes] = {}
        self.script: deque[Refuse | Say | Act] = deque()
        self.dials: list[Dial] = []
        self.closed: list[int] = []
        self.sent = 0
        self.outdated = 0  # subscribers whose cursor was too old
        self.ahead = 0  # subscribers whose cursor was beyond the newest seq
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            ssl=self._ssl,
            process_request=self._consider,
            compression=None,
            ping_interval=None,
            close_timeout=0.5,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        for _ in range(10):  # connections that never got through a handshake are closed by the loop
            await asyncio.sleep(0.002)

    async def stop(self) -> None:
        """Nobody is there any more."""
        assert self._server is not None
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"{'wss' if self._ssl else 'ws'}://localhost:{self.port}"

    def publish(self, *seqs: int, size: int = 0) -> None:
        """Frames with these seqs, into the log and to every live subscriber."""
        for seq in seqs:
            self.emit(seq, numbered(seq, size))

    def emit(self, seq: int, raw: bytes) -> None:
        """One message, into the log under this seq and to every live subscriber."""
        self.log[seq] = raw
        for queue in self._live:
            queue.put_nowait(raw)

    def cut(self) -> int:
        """Ends every connection without a farewell; how many there were."""
        connections = [] if self._server is None else list(self._server.connections)
        for connection in connections:
            connection.transport.abort()
        return len(connections)

    async def _consider(self, connection: ServerConnection, request: Request) -> Response | None:
        if self._listing is not None and "Upgrade" not in request.headers:
            return self._listed(request, self._listing)
        query = parse_qs(urlsplit(request.path).query)
        cursor = int(query["cursor"][0]) if "cursor" in query else None
        self.dials.append(Dial(time.monotonic(), urlsplit(request.path).path, cursor))
        if self.script and isinstance(self.script[0], Refuse):
            refusal = self.script.popleft()
            assert isinstance(refusal, Refuse)
            headers = Headers(refusal.headers, Connection="close", Content_Length="0")
            return Response(refusal.status, "Refused", headers, b"")
        return None

    def _listed(self, request: Request, listing: Listing) -> Response:
        parts = urlsplit(request.path)
        page = listing(parts.path.removeprefix("/xrpc/"), dict(parse_qsl(parts.query)))
        length = {"Content-Length": str(len(page.body)), "Connection": "close"}
        headers = Headers({**page.headers, **length})
        return Response(page.status, "", headers, page.body)

    async def _serve(self, connection: ServerConnection) -> None:
        cursor = self.dials[-1].cursor
        try:
            act = self.script.popleft() if self.script else None
            if isinstance(act, Say):
                for each in act.messages:
                    await connection.send(each)
                    self.sent += 1
                if act.code is not None:
                    await connection.close(act.code, act.reason)
                    return
            elif act is not None:
                assert not isinstance(act, Refuse)
                await act(connection)
                return
            await self._subscribe(connection, cursor)
        except ConnectionClosed:
            pass
        finally:
            await connection.wait_closed()
            self.closed.append(connection.close_code or 0)

    async def _subscribe(self, connection: ServerConnection, cursor: int | None) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        if cursor is not None:
            newest, oldest = max(self.log, default=0), min(self.log, default=0)
            self.ahead += cursor > newest
            self.outdated += 0 < cursor < oldest
            if cursor > newest and self.strict:
                await connection.send(error_frame("FutureCursor", "Cursor in the future."))
                await connection.close(1008)
                return
            if 0 < cursor < oldest:
                await connection.send(frame("#info", {"name": "OutdatedCursor", "message": "too old"}, 0))
            for seq in sorted(seq for seq in self.log if seq >= cursor):
                queue.put_nowait(self.log[seq])
        self._live.add(queue)
        sender = asyncio.ensure_future(self._pump(connection, queue))
        try:
            await connection.wait_closed()
        finally:
            self._live.discard(queue)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _pump(self, connection: ServerConnection, queue: asyncio.Queue[bytes]) -> None:
        while True:
            await connection.send(await queue.get())
            self.sent += 1
