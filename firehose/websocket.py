"""One websocket to a stream of binary messages, received in chunks.

The `websockets` library does the protocol; this adds what a fast one-way stream wants from it:

- Bytes are received into one buffer that is used again, not into a new object per TLS record,
  and all messages that one read brought are handed over as one list. Over TLS a message of
  5.5 kB then costs about 8 µs instead of 15.
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

# The library prints every frame at DEBUG, whoever asked for DEBUG of something else.
_log = logging.getLogger("plyr.firehose.websocket")
_log.setLevel(logging.INFO)


class ConnectionEnded(Exception):
    """The connection closed, broke, or fell silent; the message says which."""


class _Inbox(Assembler):
    """Collects whole binary messages for the reader; text messages are counted and dropped."""

    def __init__(self, transport: asyncio.Transport, high_water_bytes: int) -> None:
        super().__init__()
        self.chunk: list[bytes] = []
        self.chunk_bytes = 0
        self.text_messages = 0
        self._transport = transport
        self._high_water_bytes = high_water_bytes
        self._parts: list[bytes] = []
        self._is_text = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        if self._is_text:
            self.text_messages += frame.fin
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
        self.chunk_bytes += len(data)
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

    high_water_bytes = 4 * 1024 * 1024

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._buffer = memoryview(bytearray(_READ_BUFFER_BYTES))
        self._heard_at = 0.0
        self._texts_told = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._inbox = _Inbox(self.transport, self.high_water_bytes)
        self.recv_messages = self._inbox
        self._heard_at = self.loop.time()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._heard_at = self.loop.time()
        # Parsed before it returns, so the buffer may be filled anew.
        self.data_received(self._buffer[:nbytes])  # pyright: ignore[reportArgumentType]
        if self.protocol.state in (State.CLOSING, State.CLOSED):
            self._inbox.close()

    @property
    def text_messages(self) -> int:
        """How many text messages were received and dropped."""
        return self._inbox.text_messages

    async def next_chunk(self, *, ping_after_s: float, ping_timeout_s: float) -> list[bytes]:
        """The messages received since the last call, once there are any. Raises `ConnectionEnded`.

        What was received before the end is handed over first. The catch: none, if a text message
        came and nothing else.
        """
        inbox = self._inbox
        if not inbox.chunk:
            pinged_at: float | None = None
            while not inbox.chunk and inbox.text_messages == self._texts_told:
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
        self._texts_told = inbox.text_messages
        return inbox.take()

    async def drop(self) -> None:
        """Close the socket now, without a closing handshake."""
        self.transport.abort()
        await self.wait_closed()

    async def _end(self) -> str:
        await self.drop()
        return str(self.close_exc)


class _Dial(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        """Never follow: a redirect would be another source, on a host that nobody named (A17)."""
        return exc


async def open_stream(
    url: str, *, open_timeout_s: float, ssl_context: ssl.SSLContext | None = None, user_agent: str = "plyr"
) -> StreamConnection:
    """A connection after its handshake. Raises OSError or `websockets.WebSocketException`.

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
        create_connection=StreamConnection,
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
