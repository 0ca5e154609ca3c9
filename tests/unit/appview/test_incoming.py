"""appview/incoming.py: a body comes whole, or it is said why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from appview.errors import IncompleteBody, PayloadTooLarge
from appview.incoming import Incoming, expects

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def taking(
    max_bytes: int = 100, idle_s: float = 60, slow_s: float = 60
) -> AsyncIterator[tuple[int, asyncio.Future[object]]]:
    """A server's port, and what becomes of the first body that it gets: the bytes, or the error."""
    came: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def handler(request: web.Request) -> web.Response:
        body = Incoming.of(request, idle_s=idle_s, slow_s=slow_s)
        try:
            came.set_result(await body.read(max_bytes))
        except (IncompleteBody, PayloadTooLarge) as error:
            came.set_result(error)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", handler, expect_handler=expects)
    runner = web.AppRunner(app, lingering_time=0, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1], came
    finally:
        await runner.cleanup()


async def sent(port: int, *pieces: bytes, pause_s: float = 0) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_s)
    return writer


async def test_a_body_comes_whole() -> None:
    async with taking() as (port, came):
        writer = await sent(port, HEAD, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")
        assert await came == b"abcde"
        writer.close()


async def test_of_what_stands_still_nothing_is_kept() -> None:
    async with taking(idle_s=0.05) as (port, came):
        writer = await sent(port, HEAD, b"3\r\nabc\r\n")
        error = await came
        assert isinstance(error, IncompleteBody)
        assert str(error) == "nothing came for too long"
        writer.close()


async def test_what_trickles_is_given_up() -> None:
    async with taking(slow_s=0.1) as (port, came):
        with suppress(ConnectionError):  # that is how it is told
            await sent(port, HEAD, *[b"1\r\na\r\n"] * 100, pause_s=0.02)
        error = await came
        assert isinstance(error, IncompleteBody)
        assert str(error) == "it comes too slowly"


async def test_whoever_asks_first_sends_nothing_in_vain() -> None:
    head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n"
    for size, told in ((4, b"HTTP/1.1 100 Continue\r\n"), (101, b"HTTP/1.1 200 OK\r\n")):
        async with taking() as (port, came):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.format(size).encode())
            assert await reader.readline() == told
            if size == 4:
                writer.write(b"abcd")
                assert await came == b"abcd"
                assert await reader.readline() == b"\r\n"
                assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            else:
                assert isinstance(await came, PayloadTooLarge)
            writer.close()


async def test_a_wish_that_nobody_knows_is_refused() -> None:
    async with taking() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: more\r\nContent-Length: 1\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"417"
        writer.close()


async def test_what_comes_slowly_comes() -> None:
    """Longer in all than it may stand still."""
    async with taking(idle_s=2) as (port, came):
        writer = await sent(port, HEAD, *[b"1\r\nx\r\n"] * 6, pause_s=0.5)
        writer.write(b"0\r\n\r\n")
        assert await came == b"xxxxxx"
        writer.close()


async def test_what_breaks_off_is_incomplete() -> None:
    async with taking() as (port, came):
        writer = await sent(port, HEAD, b"3\r\nabc\r\n")
        writer.transport.abort()
        assert isinstance(await came, IncompleteBody)


async def test_what_is_no_body_any_more_is_incomplete() -> None:
    """The server itself tells nobody of a malformed chunk: it looks as if nothing came."""
    async with taking(idle_s=0.05) as (port, came):
        writer = await sent(port, HEAD, b"3\r\nabc\r\n", b"zz\r\n")
        assert isinstance(await came, IncompleteBody)
        writer.close()


async def test_what_is_too_large_is_not_read_on() -> None:
    async with taking(max_bytes=4) as (port, came):
        writer = await sent(port, HEAD, b"3\r\nabc\r\n", b"2\r\nde\r\n")
        assert isinstance(await came, PayloadTooLarge)
        writer.close()
