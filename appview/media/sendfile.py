"""Bytes from a file into a client's socket without passing through this process.

`os.sendfile` moves them inside of the kernel, beside aiohttp, whose own way costs three times the CPU for
small ranges. What is not in the page cache is first read by a thread: a sendfile that waits for the disk
would stop everybody. Where we encrypt a connection ourselves, bytes are read and written.
"""

from __future__ import annotations

import asyncio
import os

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

STALL_S = 300.0
_PIECE = 1 << 20
_PAUSE_S = 0.002
_NOWAIT = getattr(os, "RWF_NOWAIT", None)  # Linux alone


class Stalled(ConnectionError):
    """The client has taken nothing for STALL_S. A player that is paused comes back with a range."""


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
    # A descriptor of our own: the loop watches the other one for its transport.
    sock = os.dup(transport.get_extra_info("socket").fileno())
    try:
        while start < stop:
            count = min(_PIECE, stop - start)
            if not _in_cache(descriptor, start + count - 1):
                await asyncio.to_thread(os.pread, descriptor, count, start)
            try:
                sent = os.sendfile(sock, descriptor, start, count)
            except BlockingIOError:
                await _writable(sock)
                continue
            if not sent:
                raise EOFError("the file has become shorter")
            start += sent
    finally:
        os.close(sock)


async def _writable(sock: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(sock, _settle, ready)
    try:
        async with asyncio.timeout(STALL_S):
            await ready
    except TimeoutError:
        raise Stalled(f"nothing was taken for {STALL_S:.0f} s") from None
    finally:
        loop.remove_writer(sock)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _in_cache(descriptor: int, at: int) -> bool:
    """Whether this byte can be had without waiting for the disk; True, too, where nobody can tell."""
    if _NOWAIT is None:
        return True
    try:
        os.preadv(descriptor, [bytearray(1)], at, _NOWAIT)
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
