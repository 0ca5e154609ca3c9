"""One connection of the live feed: what is written to it, how far it came, and how it ends.

Contract: what was handed over and not yet taken by the network is at most `high_water_bytes` and one
chunk, and then nothing more is written until there is room. A subscriber that takes nothing for
`stall_s` is too slow. Every end that is ours comes with an error message, a close code and a reason.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import WSCloseCode, WSMsgType, web

from appview import messages
from appview.messages import Message, Wanted

_RETRY_S = 0.02
_GOODBYE_S = 0.5  # to take what is on its way when the server stops, which hears no answer any more


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """Bounds of the live feed. `ring_bytes` is how far a subscriber may fall behind, and is there once."""

    max_subscribers: int = 1000
    ring_bytes: int = 64 * 1024 * 1024
    warm_seqs: int = 20_000  # how far before the head the ring begins
    high_water_bytes: int = 256 * 1024
    chunk_bytes: int = 128 * 1024
    stall_s: float = 30.0
    ping_s: float = 30.0
    coalesce_s: float = 0.01  # between two deliveries, at least
    most_delay_s: float = 0.25  # and at most, however many subscribers there are


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection ends; `name` is the error that the subscriber is told, None: nothing to tell."""

    code: int
    reason: str
    name: str | None = None


TOO_SLOW = Ending(WSCloseCode.POLICY_VIOLATION, "messages were not taken in time", "ConsumerTooSlow")
FUTURE_CURSOR = Ending(
    WSCloseCode.POLICY_VIOLATION, "the cursor is above everything that happened", "FutureCursor"
)
NOT_NOW = Ending(WSCloseCode.TRY_AGAIN_LATER, "the past cannot be read now", "ServiceUnavailable")
GOING_AWAY = Ending(WSCloseCode.GOING_AWAY, "the server stops")
LEFT = Ending(WSCloseCode.OK, "")
SILENT = Ending(WSCloseCode.POLICY_VIOLATION, "a ping was not answered", "ConsumerTooSlow")


class Subscriber:
    """A connection after its handshake. `seq`: up to where it was served before it joined the ring;
    `number`: what it gets from there next."""

    def __init__(
        self, socket_: web.WebSocketResponse, transport: asyncio.Transport, wanted: Wanted, config: LiveConfig
    ) -> None:
        self.wanted = wanted
        self.seq = 0
        self.number = 0
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._socket = socket_
        self._transport = transport
        self._config = config
        self._full_since: float | None = None
        now = asyncio.get_running_loop().time()
        self._heard_at = self._pinged_at = self._told_at = now
        # A kernel that takes megabytes for each would hide slow readers, and hold what we must not.
        plain: socket.socket | None = transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, config.high_water_bytes)

    def has_room(self, now: float) -> bool:
        """Whether more may be written. Notes how long that has not been so, and ends what stalls."""
        if self._transport.get_write_buffer_size() <= self._config.high_water_bytes:
            self._full_since = None
            return True
        if self._full_since is None:
            self._full_since = now
        elif now - self._full_since > self._config.stall_s:
            self.end(TOO_SLOW)
        return False

    async def until_room(self) -> None:
        while True:
            if self.has_room(asyncio.get_running_loop().time()):
                return
            await asyncio.sleep(_RETRY_S)

    def write(self, frames: bytes, now: float) -> None:
        if frames and not self._transport.is_closing():
            self._transport.write(frames)
            self._told_at = now

    def tell(self, message: Message, namespace: str, now: float) -> None:
        self.write(message.frame(self.wanted.form, namespace), now)

    def quiet_for(self, now: float) -> float:
        """Seconds since something was written to it."""
        return now - self._told_at

    def keep_alive(self, now: float) -> None:
        """Ping now and then; end what has not answered the last one."""
        if now - self._pinged_at < self._config.ping_s:
            return
        if self._heard_at < self._pinged_at:
            self.end(SILENT)
            return
        self._pinged_at = now
        if not self._transport.is_closing():
            self._transport.write(messages.PING)

    def end(self, ending: Ending) -> None:
        """Ask for the end. The first reason counts."""
        if not self.ended.done():
            self.ended.set_result(ending)

    async def hear(self) -> None:
        """Reads what comes (pings, pongs, a close) until the connection ends. Messages are ignored."""
        loop = asyncio.get_running_loop()
        while True:
            message = await self._socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                self.end(LEFT)
                return
            self._heard_at = loop.time()
            if message.type is WSMsgType.PING and self._transport.get_write_buffer_size() == 0:
                with suppress(ConnectionError):
                    await self._socket.pong(message.data)

    async def close(self, ending: Ending) -> None:
        """Say why and close. Who is slow gets `stall_s` to take what is on its way, and is cut then."""
        if ending.name is not None:
            error = messages.error_frame(ending.name, ending.reason, self.wanted.form)
            self.write(error, 0)
        reason = ending.reason if ending.name is None else f"{ending.name}: {ending.reason}"
        try:
            async with asyncio.timeout(_GOODBYE_S if ending is GOING_AWAY else self._config.stall_s):
                await self._socket.close(code=ending.code, message=reason.encode())
        except (TimeoutError, ConnectionError):
            self._transport.abort()
