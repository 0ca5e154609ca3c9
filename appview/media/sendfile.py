"""Bytes from a file into a client's socket without passing through this process.

`os.sendfile` moves them inside of the kernel, beside aiohttp, whose own way costs three times the CPU for
small ranges. What is not in the page cache is first read by a thread: a sendfile that waits for the disk
would stop everybody. Where we encrypt a connection ourselves, bytes are read and written.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from asyncio.trsock import TransportSocket
from enum import Enum

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

STALL_S = 300.0
_PIECE = 2 << 20
_READ = 64 << 10
_PAUSE_S = 0.002
_CORK: int = getattr(socket, "TCP_CORK", 0)  # Linux alone, as the next
_NOWAIT = getattr(os, "RWF_NOWAIT", None)
_LOOKED_AT = [bytearray(1)]
# How a connection ends whose client has gone without a word; Python has no ConnectionError for these.
_OUT_OF_REACH = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN}


class Stalled(ConnectionError):
    """The client has taken nothing for STALL_S. A player that is paused comes back with a range."""


def hold(transport: asyncio.Transport | None) -> TransportSocket | None:
    """Have full packets sent alone, until it is let go: a head that goes with the first bytes behind it wakes
    its reader once instead of twice, and what comes after them is not cut smaller whenever he has taken some.
    The kernel keeps nothing back for longer than 200 ms. None where nothing can be held."""
    if not _CORK or transport is None or transport.get_extra_info("sslcontext") is not None:
        return None
    sock: TransportSocket = transport.get_extra_info("socket")
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _CORK, 1)
    except OSError:  # no TCP
        return None
    return sock


def let_go(held: TransportSocket) -> None:
    """What is left goes, too."""
    held.setsockopt(socket.IPPROTO_TCP, _CORK, 0)


async def send(
    request: web.Request, writer: AbstractStreamWriter, descriptor: int, start: int, stop: int
) -> None:
    """Send these bytes of a file, behind whatever was written before. Raises ConnectionError when the client
    is gone, Stalled, and EOFError where the file has become shorter."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    if transport.get_extra_info("sslcontext") is not None:
        await _copy(writer, descriptor, start, stop)
        return
    while transport.get_write_buffer_size():  # what aiohttp holds comes first
        await asyncio.sleep(_PAUSE_S)
        if transport.is_closing():
            raise ConnectionResetError("the client is gone")
    # Asyncio makes a buffer of 256 KiB for each read, which the C library has mapped and unmapped. Who asks
    # for sound sends a head of some hundred bytes.
    if hasattr(transport, "max_size"):
        transport.max_size = _READ  # pyright: ignore[reportAttributeAccessIssue]
    sending = _Sending(transport.get_extra_info("socket").fileno(), descriptor, start, stop)
    state = sending.push()
    if state is _State.DONE:
        return
    # A descriptor of our own from here on: the loop watches the other one for its transport, which may close
    # it while we wait.
    sending.sock = os.dup(sending.sock)
    try:
        while state is not _State.DONE:
            if state is _State.FULL:
                state = await sending.while_full()
            if state is _State.COLD:
                await sending.warm()
            if state is not _State.DONE:
                state = sending.push()
    finally:
        os.close(sending.sock)


class _State(Enum):
    """`FULL`: the socket takes no more now. `COLD`: what comes next is not in the page cache."""

    DONE = 0
    FULL = 1
    COLD = 2
    MORE = 3


class _Sending:
    """How far a range has come. While the socket is full, the loop itself sends on whenever there is room,
    and no task wakes up."""

    def __init__(self, sock: int, descriptor: int, start: int, stop: int) -> None:
        self.at = start
        self.sock = sock
        self._descriptor = descriptor
        self._stop = stop
        self._warm = start  # up to here it is known to be in the page cache

    def push(self) -> _State:
        """Send until the socket is full; MORE never comes out of it."""
        while (state := self._once()) is _State.MORE:
            pass
        return state

    async def warm(self) -> None:
        """Have the next piece read from the disk, and take it for read, whatever the kernel keeps of it."""
        await asyncio.to_thread(os.pread, self._descriptor, _PIECE, self.at)
        self._warm = min(self._stop, self.at + _PIECE)

    def _once(self) -> _State:
        if self.at >= self._stop:
            return _State.DONE
        if self.at >= self._warm:
            warm = min(self._stop, self.at + _PIECE)
            if not _in_cache(self._descriptor, warm - 1):
                return _State.COLD
            self._warm = warm
        try:
            sent = os.sendfile(self.sock, self._descriptor, self.at, self._warm - self.at)
        except BlockingIOError:
            return _State.FULL
        except OSError as error:
            if error.errno in _OUT_OF_REACH:
                raise ConnectionAbortedError("the client is out of reach") from error
            raise
        if not sent:
            raise EOFError("the file has become shorter")
        self.at += sent
        return _State.DONE if self.at >= self._stop else _State.MORE

    async def while_full(self) -> _State:
        """DONE or COLD, whichever comes. Raises what sending raises, and Stalled."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[_State] = loop.create_future()
        seen = self.at

        def ready() -> None:
            try:
                state = self._once()
            except (OSError, EOFError) as error:
                loop.remove_writer(self.sock)
                if not ended.done():
                    ended.set_exception(error)
                return
            if state in (_State.DONE, _State.COLD):
                loop.remove_writer(self.sock)
                if not ended.done():
                    ended.set_result(state)

        def look() -> None:
            nonlocal seen, timer
            if self.at == seen and not ended.done():
                ended.set_exception(Stalled(f"nothing was taken for {STALL_S:.0f} s"))
            seen, timer = self.at, loop.call_later(STALL_S, look)

        timer = loop.call_later(STALL_S, look)
        loop.add_writer(self.sock, ready)
        try:
            return await ended
        finally:
            timer.cancel()
            loop.remove_writer(self.sock)


def _in_cache(descriptor: int, at: int) -> bool:
    """Whether this byte can be had without waiting for the disk; True, too, where nobody can tell."""
    if _NOWAIT is None:
        return True
    try:
        os.preadv(descriptor, _LOOKED_AT, at, _NOWAIT)
    except BlockingIOError:
        return False
    except OSError:  # a file system without this
        return True
    return True


async def _copy(writer: AbstractStreamWriter, descriptor: int, start: int, stop: int) -> None:
    while start < stop:
        chunk = await asyncio.to_thread(os.pread, descriptor, min(_PIECE // 4, stop - start), start)
        if not chunk:
            raise EOFError("the file has become shorter")
        await writer.write(chunk)
        start += len(chunk)
