"""appview/incoming.py: a body comes whole, or it is said why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
from aiohttp import web
from structlog.testing import capture_logs

from appview.errors import AppError, IncompleteBody, PayloadTooLarge, RequestTimeout
from appview.guards import Gate, GuardConfig, install
from appview.incoming import Incoming, expects
from appview.metrics import Metrics
from appview.rest.answers import answer, body_of, rest

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Small(msgspec.Struct):
    name: str = ""


@asynccontextmanager
async def taking(
    max_bytes: int = 100, idle_s: float = 60, slow_s: float = 60
) -> AsyncIterator[tuple[int, asyncio.Future[object]]]:
    """A server's port, and what becomes of the first body that it gets: the bytes, or the error."""
    came: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def handler(request: web.Request) -> web.Response:
        body = Incoming.of(request, idle_s=idle_s, slow_s=slow_s)
        try:
            came.set_result(b"".join([chunk async for chunk in body.chunks(max_bytes)]))
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


@asynccontextmanager
async def reading(max_bytes: int = 4, within_s: float = 60) -> AsyncIterator[tuple[int, list[object]]]:
    """What became of small bodies, behind what makes REST's answers."""
    came: list[object] = []

    async def handler(request: web.Request) -> web.Response:
        try:
            came.append(await Incoming.of(request).read(max_bytes, within_s=within_s))
        except AppError as error:
            came.append(error)
            raise
        return web.Response()

    async def parsed(request: web.Request) -> web.Response:
        return answer(msgspec.to_builtins(await body_of(request, Small)))

    app = web.Application()
    install(app, Gate(GuardConfig(), None, Metrics()))
    app.router.add_post("/", rest(handler))
    app.router.add_post("/json", rest(parsed))
    runner = web.AppRunner(app, lingering_time=0, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1], came
    finally:
        await runner.cleanup()


async def test_a_small_body_is_read_whether_it_came_with_its_head_or_later() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
    async with reading() as (port, came):
        for pieces in ((head + b"abcd",), (head, b"ab", b"cd"), (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            assert (await reader.readline()).split()[1] == b"200"
            writer.close()
    assert came == [b"abcd", b"abcd", b""]


async def test_a_small_body_that_is_too_large_is_refused_however_it_comes() -> None:
    async with reading() as (port, came):
        for pieces in ((HEAD + b"5\r\nabcde\r\n0\r\n\r\n",), (HEAD, b"5\r\nabcde\r\n0\r\n\r\n")):
            writer = await sent(port, *pieces, pause_s=0.01)
            writer.close()
    assert [type(each) for each in came] == [PayloadTooLarge, PayloadTooLarge]


async def test_a_small_body_has_a_time_in_all() -> None:
    """However steadily it comes."""
    async with reading(1000, within_s=0.1) as (port, came):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def drip() -> None:
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(1000):
                writer.write(b"x")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        said = await asyncio.wait_for(reader.readuntil(b"}"), 10)
        dripping.cancel()
        writer.close()
    assert said.startswith(b"HTTP/1.1 408 ")
    assert said.endswith(b'{"detail":"The request did not come in time."}')
    assert [type(each) for each in came] == [RequestTimeout]


async def test_a_client_that_leaves_in_the_middle_of_its_json_is_no_defect_of_ours() -> None:
    with capture_logs() as logs:
        async with reading() as (port, _):
            writer = await sent(
                port, b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", pause_s=0.05
            )
            writer.transport.abort()
            await asyncio.sleep(0.05)
    assert logs == []


async def test_what_is_too_large_is_not_read_on() -> None:
    async with taking(max_bytes=4) as (port, came):
        writer = await sent(port, HEAD, b"3\r\nabc\r\n", b"2\r\nde\r\n")
        assert isinstance(await came, PayloadTooLarge)
        writer.close()
