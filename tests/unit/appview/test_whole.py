"""appview/whole.py: to whomever it goes, the answer is the one that aiohttp would have made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from multidict import CIMultiDict

from appview.whole import Whole

HEADERS = CIMultiDict({"Content-Type": "application/json", "Cache-Control": "no-store"})
PIECES = (b'{"tracks":[', b"1," * 200_000 + b"2", b"]}")
USUAL = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"
REQUESTS = {
    "today's": USUAL,
    "a client of the old HTTP": "GET {} HTTP/1.0\r\n\r\n",
    "one that keeps its connection": "GET {} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "the last of a connection": "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "the head alone": "HEAD {} HTTP/1.1\r\nHost: x\r\n\r\n",
}


async def change(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["ETag"] = '"7"'


def made(name: str, *pieces: bytes, **more: int) -> web.Response:
    headers, status = HEADERS, more.get("status", 200)
    if name == "ours":
        return Whole(*pieces, status=status, headers=headers)
    return web.Response(body=b"".join(pieces), status=status, headers=headers)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.Response:
        name, kind = request.match_info["name"], request.match_info["kind"]
        match kind:
            case "failure":
                return made(name, b"{}", status=404)
            case "nothing":
                return made(name, b"")
            case "one":
                return made(name, PIECES[1])
            case "cookie":
                response = made(name, *PIECES)
                response.set_cookie("a", "b")
                return response
            case "last":
                response = made(name, *PIECES)
                response.force_close()
                return response
            case _:
                return made(name, *PIECES)

    app = web.Application()
    app.router.add_get("/{name}/{kind}", answer)
    app.on_response_prepare.append(change)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def asked(port: int, *requests: str) -> list[bytes]:
    """All that comes for each of these, one after the other on one connection, until it is at an end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found: list[bytes] = []
    for request in requests:
        writer.write(request.encode())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            break
        length = int((b"0" + head.lower().partition(b"content-length: ")[2]).split(b"\r\n")[0])
        found.append(head + (b"" if request.startswith("HEAD") else await reader.readexactly(length)))
    writer.close()
    return found


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
async def test_it_is_the_answer_that_any_other_would_be(port: int, request_: str) -> None:
    """With the same headers, on a connection that stays or ends likewise. Of their order nothing is said."""
    for kind in ("all", "one", "nothing", "failure", "cookie", "last"):
        ours, theirs = [
            [
                _in_order(each)
                for each in await asked(port, *[text.format(f"/{name}/{kind}") for text in both])
            ]
            for both in [(request_, USUAL)]
            for name in ("ours", "aiohttp")
        ]
        assert ours == theirs, kind
        assert b'etag: "7"' in ours[0][0]


def _in_order(answer: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    named = sorted(line.partition(b":")[0].lower() + b":" + line.partition(b":")[2] for line in lines[1:])
    return [lines[0], *(line for line in named if not line.startswith(b"date:")), *_dates(named)], body


def _dates(lines: list[bytes]) -> list[bytes]:
    """That there is one; a second may have gone by."""
    return [line.partition(b":")[0] for line in lines if line.startswith(b"date:")]


async def test_who_reads_slowly_is_waited_for(port: int) -> None:
    """All of it comes, though it does not fit into what the system keeps for a connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    for _ in range(20):
        writer.write(USUAL.format("/ours/all").encode())
    await asyncio.sleep(0.05)
    whole = sum(map(len, PIECES))
    for _ in range(20):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: %d\r\n" % whole in head.lower()
        assert await reader.readexactly(whole) == b"".join(PIECES)
    writer.close()
