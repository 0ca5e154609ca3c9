"""A WebSocket proxy before a real firehose, which does to its frames what a bad network may do.

    PDS: 1 2 3 4 5 6        the proxy sends, say: 1 3 2 3 4 6 5 6

Frames are sent again, or sent a little late, on a seed and within a window: never more than
`window` frames later, and never held longer than `hold_s`, so a stream that falls quiet is still
delivered whole. Connections can be cut at any moment; what was held dies with its connection,
as it would in a network. It changes no frame and invents none. Every fault is counted.
"""

from __future__ import annotations

import asyncio
import http
import random
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.http11 import Request, Response


@dataclass
class Faults:
    """What the proxy has done so far."""

    connections: int = 0
    frames: int = 0  # read from upstream
    duplicated: int = 0
    reordered: int = 0  # sent after a frame that came later
    cut: int = 0  # connections that were open when they were cut
    refused: int = 0  # attempts to connect while upstream was down


@dataclass(frozen=True)
class _Held:
    """A frame to be sent later: after `after` more frames, or at `until` at the latest."""

    number: int
    frame: bytes
    after: int
    until: float
    again: bool


class FaultyProxy:
    """Serves `ws://127.0.0.1:<port>` for upstream `ws://…`, path and query passed through."""

    def __init__(
        self,
        upstream: str,
        *,
        seed: int,
        duplicate: float = 0.1,
        reorder: float = 0.1,
        window: int = 8,
        hold_s: float = 0.05,
    ) -> None:
        self.faults = Faults()
        self._upstream = upstream
        self._random = random.Random(seed)
        self._duplicate = duplicate
        self._reorder = reorder
        self._window = window
        self._hold_s = hold_s
        self._ways: dict[ServerConnection, ClientConnection] = {}
        self._server: Server

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._carry, "127.0.0.1", 0, process_request=self._open, compression=None, max_size=None
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abort_all()
        self._server.close()
        await self._server.wait_closed()
        # Whoever broke off while we answered its handshake never came to be carried.
        await asyncio.gather(*(upstream.close() for upstream in self._ways.values()))

    @property
    def source(self) -> str:
        """The origin to give to a reader in place of the real one."""
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://localhost:{port}"

    def cut(self) -> int:
        """Breaks every open connection without a farewell, mid-frame or not; how many there were."""
        count = self._abort_all()
        self.faults.cut += count
        return count

    def _abort_all(self) -> int:
        ways = list(self._ways)
        for connection in ways:
            connection.transport.abort()
        return len(ways)

    async def _open(self, connection: ServerConnection, request: Request) -> Response | None:
        """Connects upstream before the handshake is answered: an upstream that is down refuses here, too."""
        try:
            self._ways[connection] = await connect(
                self._upstream + request.path, compression=None, max_size=None, open_timeout=30
            )
        except (OSError, WebSocketException, TimeoutError):
            self.faults.refused += 1
            return connection.respond(http.HTTPStatus.BAD_GATEWAY, "upstream is down\n")
        return None

    async def _carry(self, reader: ServerConnection) -> None:
        upstream = self._ways[reader]
        self.faults.connections += 1
        frames: asyncio.Queue[bytes | None] = asyncio.Queue(64)
        pump = asyncio.create_task(_pump(upstream, frames))
        gone = asyncio.create_task(reader.wait_closed())
        try:
            deliver = asyncio.create_task(self._deliver(frames, reader))
            await asyncio.wait((deliver, gone), return_when=asyncio.FIRST_COMPLETED)
            deliver.cancel()
            await asyncio.gather(deliver, return_exceptions=True)
        finally:
            pump.cancel()
            gone.cancel()
            await asyncio.gather(pump, gone, return_exceptions=True)
            del self._ways[reader]
            await upstream.close()

    async def _deliver(self, frames: asyncio.Queue[bytes | None], reader: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        held: list[_Held] = []
        number = newest_sent = 0
        open_upstream = True
        try:
            while open_upstream or held:
                wait_s = min((each.until for each in held), default=loop.time() + 60) - loop.time()
                try:
                    frame = await asyncio.wait_for(frames.get(), max(0.0, wait_s)) if open_upstream else None
                    open_upstream = frame is not None
                except TimeoutError:
                    frame = None
                if frame is not None:
                    number += 1
                    self.faults.frames += 1
                    late = self._plan(number, frame, loop.time())
                    held += late
                    if all(each.again for each in late):
                        await reader.send(frame)
                        newest_sent = number
                now = loop.time()
                due = [
                    each for each in held if each.after <= number or each.until <= now or not open_upstream
                ]
                for each in due:
                    held.remove(each)
                    await reader.send(each.frame)
                    if each.again:
                        self.faults.duplicated += 1
                    elif each.number < newest_sent:
                        self.faults.reordered += 1
                    newest_sent = max(newest_sent, each.number)
        except ConnectionClosed:
            pass

    def _plan(self, number: int, frame: bytes, now: float) -> list[_Held]:
        """Which copies of this frame are sent later: none, a second one, the only one, or both."""
        late: list[_Held] = []
        if self._random.random() < self._reorder:
            late.append(self._hold(number, frame, now, again=False))
        if self._random.random() < self._duplicate:
            late.append(self._hold(number, frame, now, again=True))
        return late

    def _hold(self, number: int, frame: bytes, now: float, *, again: bool) -> _Held:
        return _Held(number, frame, number + self._random.randint(1, self._window), now + self._hold_s, again)


async def _pump(upstream: ClientConnection, frames: asyncio.Queue[bytes | None]) -> None:
    """Frames as they come, then None. A bounded queue: a slow reader slows the PDS, not our memory."""
    try:
        async for message in upstream:
            await frames.put(message if isinstance(message, bytes) else message.encode())
    except ConnectionClosed:
        pass
    await frames.put(None)
