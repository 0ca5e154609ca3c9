"""The port that a web server answers at, and how whoever it accepts is written to."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket

from aiohttp import web

from appview.media.sendfile import STALL_S

BACKLOG = 1024


async def listen(
    runner: web.AppRunner, host: str, port: int, *, backlog: int = BACKLOG, stall_s: float = STALL_S
) -> None:
    """Answer at every address of this host. As many as `backlog` may wait, and are accepted at once. Whoever
    takes nothing of an answer for `stall_s` is cut off. Raises OSError where an address cannot be had."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, address in dict.fromkeys((family, address) for family, *_, address in found):
        listener = socket.create_server(address, family=family)
        _give_up_after(listener, stall_s)
        if ipaddress.ip_address(address[0]).is_loopback:
            _unpace(listener)
        await web.SockSite(runner, listener, backlog=backlog).start()


def _give_up_after(listener: socket.socket, stall_s: float) -> None:
    """Have the kernel end a connection on which nothing is taken: else a client that asks and never reads
    keeps its answer, and megabytes of the kernel's, for as long as it likes. Said to the listener, it costs
    no connection anything."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(stall_s * 1000))


def _unpace(listener: socket.socket) -> None:
    """Have whatever it accepts sent as fast as it is taken.

    Who comes over the loopback is a proxy of this machine, and no line lies between the two. Where the
    machine's own choice is BBR, it would set a timer for every 64 KiB, which is a third of all that sending
    costs. It is said to the listener: a connection that has begun with BBR stays paced.
    """
    if hasattr(socket, "TCP_CONGESTION"):
        with contextlib.suppress(PermissionError):  # a machine that allows nothing but its own choice
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
