"""Where a server listens, and how those are written to whom it accepts."""

from __future__ import annotations

import asyncio
import socket
import sys

import aiohttp
import pytest
from aiohttp import web

from appview.port import listen
from appview.protocol import make_runner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a program choose")


def pacing_of(sock: socket.socket) -> str:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


async def told(host: str) -> str:
    """The congestion control that an accepted connection says that it has."""

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.Response(text=pacing_of(request.transport.get_extra_info("socket")))

    app = web.Application()
    app.router.add_get("/", handler)
    runner = make_runner(app)
    await runner.setup()
    try:
        await listen(runner, host, 0)
        address = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with aiohttp.ClientSession() as client, client.get(address) as answer:
            return await answer.text()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_proxy_on_this_machine_is_not_paced(host: str) -> None:
    assert await told(host) == "reno"


async def test_whoever_may_come_from_far_gets_what_the_machine_has_chosen() -> None:
    with socket.socket() as plain:
        assert await told("0.0.0.0") == pacing_of(plain)


async def test_who_takes_nothing_of_an_answer_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    lost = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(1 << 20))
        finally:
            lost.set()

    app = web.Application()
    app.router.add_get("/", handler)
    runner = make_runner(app)
    await runner.setup()
    await listen(runner, "127.0.0.1", 0, stall_s=0.1)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(runner.addresses[0])
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(lost.wait(), 10)
    await runner.cleanup()
    assert caplog.records == []


async def test_an_address_that_is_taken_is_an_error() -> None:
    runner = make_runner(web.Application())
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        await listen(runner, "127.0.0.1", taken.getsockname()[1])
    await runner.cleanup()
