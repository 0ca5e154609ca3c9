"""One websocket to a stream of messages of one kind, binary or text, received in chunks.

The `websockets` library does the protocol; this adds what a fast one-way stream wants from it:

- Bytes are received into one buffer that is used again, not into a new object per TLS record,
  and all messages that one read brought are handed over as one list. Whole messages of the wanted
  kind are taken straight out of that buffer; the library gets the handshake and every other frame.
  Over TLS a message of 5.5 kB then costs about 4 µs instead of 15. The catch: nobody has looked
  whether a text is UTF-8.
- Reading pauses when `high_water_bytes` of messages wait, so that a slow consumer's delay
  reaches the sender's socket and not our memory.
- Silence is not death (A16, T26): a connection that brings no byte for a while is pinged, and
  given up only if the ping brings none either. Pings are sent only while the consumer waits:
  with reading paused, no pong could be seen.

No task is started, and the only timer runs while there is nothing to hand over (T27).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection  # pyright: ignore[reportUnknownVariableType]
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.messages import Assembler
from websockets.frames import Frame, Opcode
from websockets.protocol import State

MAX_MESSAGE_BYTES = 5_000_000  # of the whole message (A5)
_READ_BUFFER_BYTES = 256 * 1024
_END_OF_HEAD = b"\r\n\r\n"
_WHOLE = 0x80  # in the first byte of a frame: final, no extension

# The library prints every frame at DEBUG, whoever asked for DEBUG of something else.
_log = logging.getLogger("plyr.firehose.websocket")
_log.setLevel(logging.INFO)


class ConnectionEnded(Exception):
    """The connection closed, broke, or fell silent; the message says which."""


class _Inbox(Assembler):
    """Collects whole messages of the wanted kind for the reader; others are counted and dropped."""

    def __init__(self, transport: asyncio.Transport, wanted: Opcode, high_water_bytes: int) -> None:
        super().__init__()
        self.chunk: list[bytes] = []
        self.chunk_bytes = 0
        self.strays = 0
        self._wanted = wanted
        self._transport = transport
        self._high_water_bytes = high_water_bytes
        self._parts: list[bytes] = []
        self._is_stray = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._is_stray = frame.opcode is not self._wanted
        if self._is_stray:
            self.strays += frame.fin
            self._wake()
            return
        data = bytes(frame.data)
        if self._parts or not frame.fin:
            self._parts.append(data)
            if not frame.fin:
                return
            data = b"".join(self._parts)
            self._parts = []
        self.chunk.append(data)
        self.added(len(data))

    def added(self, nbytes: int) -> None:
        """Messages of so many bytes were appended to `chunk`."""
        self.chunk_bytes += nbytes
        if self.chunk_bytes > self._high_water_bytes and not self.paused:
            self.paused = True
            self._transport.pause_reading()
        self._wake()

    def close(self) -> None:
        self.closed = True
        self._wake()

    def take(self) -> list[bytes]:
        chunk, self.chunk, self.chunk_bytes = self.chunk, [], 0
        if self.paused and not self.closed:
            self.paused = False
            self._transport.resume_reading()
        return chunk

    async def wait(self, timeout_s: float) -> None:
        """Until there is something to take, the end, or the timeout: whichever is first."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(timeout_s, self._wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class StreamConnection(ClientConnection, asyncio.BufferedProtocol):
    """A client connection whose messages are read with `next_chunk` alone, by one reader."""

    wanted = Opcode.BINARY
    high_water_bytes = 4 * 1024 * 1024

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._buffer = memoryview(bytearray(_READ_BUFFER_BYTES))
        self._heard_at = 0.0
        self._strays_told = 0
        self._held = 0  # bytes at the front of the buffer that are the beginning of something
        self._in_message = False  # the library is in the middle of a fragmented message

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._inbox = _Inbox(self.transport, self.wanted, self.high_water_bytes)
        self.recv_messages = self._inbox
        self._heard_at = self.loop.time()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[self._held :]

    def buffer_updated(self, nbytes: int) -> None:
        self._heard_at = self.loop.time()
        end = self._held + nbytes
        at = self._take_handshake(end) if self.protocol.state is State.CONNECTING else 0
        if self.protocol.state is State.OPEN:
            at = self._take_frames(at, end)
        elif self.protocol.state is not State.CONNECTING:
            self._hand_over(at, end)
            at = end
        self._held = end - at
        if at and self._held:
            self._buffer[: self._held] = self._buffer[at:end]
        if self.protocol.state in (State.CLOSING, State.CLOSED):
            self._inbox.close()

    def _hand_over(self, at: int, end: int) -> None:
        # Parsed before it returns, so the buffer may be filled anew.
        self.data_received(self._buffer[at:end])  # pyright: ignore[reportArgumentType]

    def _take_handshake(self, end: int) -> int:
        """Gives the library the answer to the handshake and nothing behind it; returns where that begins."""
        received = bytes(self._buffer[:end])
        found = received.find(_END_OF_HEAD)
        if found >= 0:
            end = found + len(_END_OF_HEAD)
        else:
            # The end of the head may have come in part.
            end -= next(size for size in (3, 2, 1, 0) if received.endswith(_END_OF_HEAD[:size]))
        self._hand_over(0, end)
        return end

    def _take_frames(self, at: int, end: int) -> int:
        """Takes whole frames out of the buffer; returns where the first incomplete one begins (RFC 6455)."""
        buffer, inbox = self._buffer, self._inbox
        append, added, wanted = inbox.chunk.append, 0, _WHOLE | self.wanted
        while end - at >= 2:
            first, size = buffer[at], buffer[at + 1]
            start = at + 2
            if size > 125:
                start += 2 if size == 126 else 8
                if start > end:
                    break
                masked, size = size > 127, int.from_bytes(buffer[at + 2 : start], "big")
                if masked or size > MAX_MESSAGE_BYTES:
                    # Nothing that a server may send: the library says so and closes.
                    self._hand_over(at, end)
                    at = end
                    break
            stop = start + size
            if stop > end:
                if stop - at > len(buffer):
                    self._buffer = memoryview(bytearray(stop))
                    self._buffer[:end] = buffer[:end]
                break
            if first == wanted and not self._in_message:
                append(bytes(buffer[start:stop]))
                added += size
            else:
                if first & 0x08 == 0:
                    self._in_message = first & 0x80 == 0
                self._hand_over(at, stop)
                if self.protocol.state is not State.OPEN:
                    self._hand_over(stop, end)
                    stop = end
            at = stop
        if added:
            inbox.added(added)
        return at

    @property
    def strays(self) -> int:
        """How many messages of the other kind were received and dropped."""
        return self._inbox.strays

    async def next_chunk(self, *, ping_after_s: float, ping_timeout_s: float) -> list[bytes]:
        """The messages received since the last call, once there are any. Raises `ConnectionEnded`.

        What was received before the end is handed over first. The catch: none, if a message of
        the other kind came and nothing else.
        """
        inbox = self._inbox
        if not inbox.chunk:
            pinged_at: float | None = None
            while not inbox.chunk and inbox.strays == self._strays_told:
                if inbox.closed:
                    raise ConnectionEnded(await self._end())
                now = self.loop.time()
                if pinged_at is not None and self._heard_at < pinged_at:
                    wait_s = pinged_at + ping_timeout_s - now
                    if wait_s <= 0:
                        await self._end()
                        raise ConnectionEnded(f"no answer to a ping within {ping_timeout_s:g} s")
                else:
                    wait_s = self._heard_at + ping_after_s - now
                    if wait_s <= 0:
                        self.protocol.send_ping(b"still there?")
                        self.send_data()
                        pinged_at, wait_s = now, ping_timeout_s
                await inbox.wait(wait_s)
        self._strays_told = inbox.strays
        return inbox.take()

    async def drop(self) -> None:
        """Close the socket now, without a closing handshake."""
        self.transport.abort()
        await self.wait_closed()

    async def _end(self) -> str:
        await self.drop()
        return str(self.close_exc)


class TextConnection(StreamConnection):
    """The same for a stream of text messages."""

    wanted = Opcode.TEXT


class _Dial(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        """Never follow: a redirect would be another source, on a host that nobody named (A17)."""
        return exc


async def open_stream(
    url: str,
    *,
    open_timeout_s: float,
    ssl_context: ssl.SSLContext | None = None,
    user_agent: str = "plyr",
    text: bool = False,
) -> StreamConnection:
    """A connection after its handshake, for binary messages or for texts. Raises OSError or
    `websockets.WebSocketException`.

    The address families are tried side by side: one that leads nowhere costs a quarter of a second.
    """
    tls: dict[str, Any] = {"ssl": ssl_context} if ssl_context is not None and url.startswith("wss:") else {}
    parts = urlsplit(url)
    assert parts.hostname is not None
    async with asyncio.timeout(open_timeout_s):
        addresses = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, parts.port or (443 if parts.scheme == "wss" else 80), type=socket.SOCK_STREAM
        )
        sock = await start_connection(addresses, happy_eyeballs_delay=0.25, interleave=1)
    connection = await _Dial(
        url,
        sock=sock,
        create_connection=TextConnection if text else StreamConnection,
        compression=None,
        max_size=MAX_MESSAGE_BYTES,
        max_queue=None,  # the inbox bounds itself, by bytes
        ping_interval=None,
        open_timeout=open_timeout_s,
        proxy=None,
        user_agent_header=user_agent,
        logger=_log,
        **tls,
    )
    assert isinstance(connection, StreamConnection)
    return connection
