"""Subscribers of a live feed (a child process), as cheap as they can be made in Python.

Each event carries a number and the time when it was written. A subscriber finds these two in the bytes of a
frame, so that what it costs is small beside what it measures, and checks that no number is missing. Where
that would still cost too much, only some look, and the others must have received as many bytes as those.
"""

from __future__ import annotations

import array
import asyncio
import struct
import sys
import time
from typing import Any

from tests.bench import children

STAMP = b"estampP"  # a field `stamp` of 16 bytes, in CBOR
_stamp = struct.Struct(">QQ").unpack_from
_PONG = b"\x8a\x80\x00\x00\x00\x00"  # unasked: "still here"
_PINGS = 100  # bytes by which two who received the same may differ: less than an event has
_HANDSHAKE = (
    b"GET /xrpc/fm.plyr.sync.subscribe HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class _Subscriber(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._begun = False
        self._next: int | None = None
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(_HANDSHAKE)
        self._run.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        buffer = self._buffer + data if self._buffer else data
        at, end = 0, len(buffer)
        if not self._begun:
            at = buffer.find(b"\r\n\r\n") + 4
            self._begun = at > 3 and buffer.startswith(b"HTTP/1.1 101 ")
            if not self._begun:
                self._buffer = buffer
                return
            self._run.open += 1
        run, now = self._run, time.time_ns()
        expected, late = self._next, run.late_ns
        while end - at >= 4:
            size, start = buffer[at + 1], at + 2
            if size > 125:
                size, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            stop = start + size
            if stop > end:
                break
            found = buffer.find(STAMP, start, stop)
            if found >= 0:
                number, sent_ns = _stamp(buffer, found + len(STAMP))
                if expected is not None and number != expected:
                    run.missed += 1
                expected = number + 1
                late.append(now - sent_ns)
            at = stop
        self._next = expected
        self._buffer = buffer[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost += 1


class _Counter(asyncio.BufferedProtocol):
    """A subscriber that reads and counts bytes, and looks at none."""

    buffer = bytearray(256 * 1024)

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._begun = False
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(_HANDSHAKE)
        self._run.transports.append(transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += nbytes
        if not self._begun:
            self._begun = True
            self._run.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost += 1


class _Run:
    def __init__(self) -> None:
        self.late_ns = array.array("q")
        self.open = self.lost = self.missed = 0
        self.subscribers: list[_Subscriber] = []
        self.counters: list[_Counter] = []
        self.transports: list[asyncio.Transport] = []

    def answer(self) -> dict[str, Any]:
        """How many events, and how late, of those who look; how many of all are behind the others."""
        late = sorted(self.late_ns)
        self.late_ns = array.array("q")
        for transport in self.transports:
            transport.write(_PONG)
        most = max(each.received for each in self.subscribers)
        return {
            "n": len(late),
            "p50_ms": late[len(late) // 2] / 1e6 if late else 0,
            "p99_ms": late[int(len(late) * 0.99)] / 1e6 if late else 0,
            "open": self.open,
            "lost": self.lost,
            "missed": self.missed,
            "behind": sum(most - each.received > _PINGS for each in (*self.subscribers, *self.counters)),
        }


async def follow(task: dict[str, Any]) -> None:
    """Says how it went since the last time whenever a line comes in, until standard input closes."""
    loop = asyncio.get_running_loop()
    run = _Run()
    for number in range(task["subscribers"]):
        if number % task["every"]:
            _, counter = await loop.create_connection(lambda: _Counter(run), "127.0.0.1", task["port"])
            run.counters.append(counter)
        else:
            _, subscriber = await loop.create_connection(lambda: _Subscriber(run), "127.0.0.1", task["port"])
            run.subscribers.append(subscriber)
    while run.open < task["subscribers"]:
        await asyncio.sleep(0.01)
    children.say(run.answer())
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        children.say(run.answer())


if __name__ == "__main__":
    children.main(follow)
