"""A body piece by piece, from where another left off: hosts that keep to ranges, and hosts that do not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
from aiohttp import web

from firehose.fetch_errors import BadStatus, FetchFailed, TooLarge, Unreachable
from firehose.net import GuardedClient

DATA = bytes(range(256)) * 400


class Host:
    """Answers with what it is told; `asked` has the Range of each request."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self.sends = DATA
        self.asked: list[str | None] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers.get("Range"))
        return web.Response(status=self.status, headers=self.headers, body=self.sends)

    def part(self, start: int, **headers: str) -> None:
        self.status, self.sends = 206, DATA[start:]
        self.headers = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    app = web.Application()
    app.router.add_get("/", host.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield host
    finally:
        await runner.cleanup()


async def read(host: Host, *, at: int = 0, max_bytes: int = len(DATA)) -> tuple[int, bytes]:
    async with (
        GuardedClient(allow_loopback=True) as client,
        client.body(host.url, at=at, max_bytes=max_bytes, idle_s=5) as body,
    ):
        return body.start, b"".join([piece async for piece in body.pieces])


async def test_all_of_it_comes_in_pieces(host: Host) -> None:
    assert await read(host) == (0, DATA)
    assert host.asked == [None]


async def test_a_part_begins_where_it_was_asked_for(host: Host) -> None:
    host.part(70_000)
    assert await read(host, at=70_000) == (70_000, DATA[70_000:])
    assert host.asked == ["bytes=70000-"]


async def test_a_host_without_ranges_begins_anew_and_says_so(host: Host) -> None:
    assert await read(host, at=70_000) == (0, DATA)


async def test_behind_the_end_there_is_nothing(host: Host) -> None:
    host.status, host.headers = 416, {"Content-Range": f"bytes */{len(DATA)}"}
    assert await read(host, at=len(DATA)) == (len(DATA), b"")


@pytest.mark.parametrize("headers", [{"Content_Range": "bytes 5-9/10"}, {"Content_Encoding": "gzip"}])
async def test_another_part_than_was_asked_for_is_refused(host: Host, headers: dict[str, str]) -> None:
    host.part(70_000, **headers)
    with pytest.raises(Unreachable, match="another part"):
        await read(host, at=70_000)


async def test_a_part_that_nobody_asked_for_is_a_bad_status(host: Host) -> None:
    host.part(70_000)
    with pytest.raises(BadStatus):
        await read(host)


async def test_what_is_here_already_counts(host: Host) -> None:
    host.part(70_000)
    with pytest.raises(TooLarge):
        await read(host, at=70_000, max_bytes=len(DATA) - 1)


async def test_a_refusal_tells_its_status(host: Host) -> None:
    host.status, host.headers = 429, {"Retry-After": "7"}
    with pytest.raises(FetchFailed) as refused:
        await read(host)
    assert isinstance(refused.value, BadStatus)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 7)
