"""appview/protocol.py: a head has its time, which is no body's, and there is an end of connections."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from appview.protocol import make_runner

HALF = b"GET / HTTP/1.1\r\nHost: x\r\n"
WHOLE = HALF + b"\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(head_s: float) -> AsyncIterator[Streams]:
    """A connection to a server whose answer to a GET is short, and to a POST how long its body was."""

    async def short(_: web.Request) -> web.Response:
        return web.Response(text="here")

    async def length(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app = web.Application()
    app.router.add_get("/", short)
    app.router.add_post("/", length)
    runner = make_runner(app, head_s=head_s, shutdown_timeout_s=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    try:
        yield reader, writer
    finally:
        writer.close()
        await runner.cleanup()


async def answer(reader: asyncio.StreamReader, end: bytes) -> bytes:
    return await asyncio.wait_for(reader.readuntil(end), 10)


async def rest(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), 10)


def is_late(said: bytes) -> bool:
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 408 "), said  # the old HTTP ends with its answer
    said_of_it = {"error": "RequestTimeout", "message": "The request did not come in time."}
    assert json.loads(body) == said_of_it
    return True


async def test_a_head_that_is_not_whole_in_time_is_told_so() -> None:
    async with connected(0.05) as (reader, writer):
        writer.write(HALF)
        assert is_late(await rest(reader))


async def test_a_byte_now_and_then_gains_no_time() -> None:
    async with connected(0.2) as (reader, writer):

        async def drip() -> None:
            for byte in WHOLE * 100:
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert is_late(await rest(reader))
        dripping.cancel()


async def test_whoever_says_nothing_at_all_is_not_answered() -> None:
    async with connected(0.05) as (reader, _):
        assert await rest(reader) == b""


async def test_the_next_head_has_its_time_too() -> None:
    async with connected(0.1) as (reader, writer):
        writer.write(WHOLE)
        assert (await answer(reader, b"here")).startswith(b"HTTP/1.1 200 ")
        writer.write(HALF)
        assert is_late(await rest(reader))


async def test_a_connection_may_rest_between_two_requests() -> None:
    async with connected(0.05) as (reader, writer):
        for _ in range(2):
            writer.write(WHOLE)
            assert (await answer(reader, b"here")).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.15)


async def test_the_time_of_a_head_is_not_that_of_a_body() -> None:
    async with connected(0.05) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            await asyncio.sleep(0.05)
            writer.write(b"x")
        assert (await answer(reader, b"\r\n\r\n4")).startswith(b"HTTP/1.1 200 ")


async def test_beyond_as_many_connections_as_may_be_it_hangs_up_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runner = make_runner(web.Application(), most_connections=2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    async def ask() -> tuple[asyncio.StreamWriter, bytes]:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        try:
            writer.write(WHOLE)
            return writer, await asyncio.wait_for(reader.readline(), 10)
        except ConnectionError:
            return writer, b""

    with capture_logs() as logs:
        (one, said), (two, too) = await ask(), await ask()
        assert said == too == b"HTTP/1.1 404 Not Found\r\n"
        more = [await ask() for _ in range(3)]
        assert [said for _, said in more] == [b"", b"", b""]
        one.close()
        while len(runner.server.connections if runner.server else ()) > 1:
            await asyncio.sleep(0.01)
        last, said = await ask()
        assert said.startswith(b"HTTP/1.1 404")
    for writer in (two, last, *[writer for writer, _ in more]):
        writer.close()
    await runner.cleanup()
    gc.collect()  # of what failed and nobody heard of, the log is told now
    assert caplog.records == []
    assert [(each["event"], each["most"]) for each in logs] == [("no more connections are taken", 2)]
