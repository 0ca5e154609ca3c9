"""Downloads into a file: bodies of any size, slow ones, endless ones, and refusals (T35, T40)."""

from __future__ import annotations

import asyncio
import gzip
import io
import time
import tracemalloc
from typing import Any, BinaryIO

import pytest
from aiohttp import web

from firehose.fetch_errors import Blocked, TimedOut, TooLarge, TooSlow, Unreachable
from firehose.net import GuardedClient, Response
from tests.fakenet.http import FakeWeb, Page, redirect

URL = "https://a.plyr-test.dev/"


async def fetch(client: GuardedClient, file: BinaryIO, **limits: Any) -> Response:
    wide: dict[str, Any] = {"max_bytes": 1_000_000, "timeout_s": 5, "idle_s": 5}
    return await client.download(URL, file, **wide | limits)


async def test_a_body_goes_into_the_file_and_not_into_the_answer(
    fake_web: FakeWeb, client: GuardedClient
) -> None:
    fake_web.pages[URL] = Page(b"x" * 300_000, headers={"Content-Type": "application/vnd.ipld.car"})
    file = io.BytesIO()
    answer = await fetch(client, file, max_bytes=300_000)
    assert (answer.status, answer.body, answer.url) == (200, b"", URL)
    assert answer.headers["content-type"] == "application/vnd.ipld.car"
    assert file.getvalue() == b"x" * 300_000


async def test_a_redirect_is_followed_and_checked(fake_web: FakeWeb, client: GuardedClient) -> None:
    other = fake_web.host("b.plyr-test.dev")
    fake_web.pages[URL] = Page(b"a", headers={"Location": f"{other}/x"}, status=302)
    fake_web.pages[f"{other}/x"] = Page(b"found")
    file = io.BytesIO()
    assert (await fetch(client, file)).url == f"{other}/x"
    assert file.getvalue() == b"found"
    fake_web.pages[URL] = redirect("https://169.254.169.254/")
    with pytest.raises(Blocked):
        await fetch(client, io.BytesIO())


async def test_t40_a_refusal_leaves_the_file_alone_and_is_cut_short(
    fake_web: FakeWeb, client: GuardedClient
) -> None:
    async def pour(request: web.Request, response: web.StreamResponse) -> None:
        response.set_status(429)
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"<html>" * 2_000)

    fake_web.pages[URL] = pour
    file = io.BytesIO()
    answer = await fetch(client, file, max_bytes=10)
    assert (answer.status, len(answer.body), file.getvalue()) == (429, 65_536, b"")


@pytest.mark.parametrize("declares_length", [True, False])
async def test_t35_an_endless_body_is_cut_at_the_cap(
    fake_web: FakeWeb, client: GuardedClient, declares_length: bool
) -> None:
    sent = 0

    async def pour(request: web.Request, response: web.StreamResponse) -> None:
        nonlocal sent
        if declares_length:
            response.content_length = 10**9
        await response.prepare(request)
        while sent < 10**9:
            await response.write(b"\0" * 65_536)
            sent += 65_536

    fake_web.pages[URL] = pour
    file = io.BytesIO()
    with pytest.raises(TooLarge):
        await fetch(client, file, max_bytes=100_000)
    assert sent < 50_000_000
    assert len(file.getvalue()) == (0 if declares_length else 100_000)


async def test_t35_a_body_that_stands_still_is_given_up(fake_web: FakeWeb, client: GuardedClient) -> None:
    async def stall(request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        await response.write(b"begun")
        await asyncio.sleep(10)

    fake_web.pages[URL] = stall
    started = time.monotonic()
    with pytest.raises(TooSlow):
        await fetch(client, io.BytesIO(), idle_s=0.2)
    assert time.monotonic() - started < 5


async def test_t35_a_host_that_says_nothing_is_given_up(fake_web: FakeWeb, client: GuardedClient) -> None:
    fake_web.pages[URL] = Page(b"late", delay_s=10)
    started = time.monotonic()
    with pytest.raises(TooSlow):
        await fetch(client, io.BytesIO(), idle_s=0.2)
    assert time.monotonic() - started < 5


async def drip(request: web.Request, response: web.StreamResponse) -> None:
    await response.prepare(request)
    while True:
        await response.write(b".")
        await asyncio.sleep(0.02)


async def test_t35_a_dripping_body_is_given_up(fake_web: FakeWeb, client: GuardedClient) -> None:
    fake_web.pages[URL] = drip
    started = time.monotonic()
    with pytest.raises(TooSlow, match="bytes in"):
        await fetch(client, io.BytesIO(), idle_s=0.2, min_rate=1000)
    assert time.monotonic() - started < 5


async def test_t35_a_dripping_body_ends_at_the_total_timeout(
    fake_web: FakeWeb, client: GuardedClient
) -> None:
    fake_web.pages[URL] = drip
    with pytest.raises(TimedOut) as ended:
        await fetch(client, io.BytesIO(), timeout_s=0.3)
    assert not isinstance(ended.value, TooSlow)


async def test_t18_a_connection_cut_within_the_body_is_an_error(
    fake_web: FakeWeb, client: GuardedClient
) -> None:
    async def cut(request: web.Request, response: web.StreamResponse) -> None:
        response.content_length = 1000
        await response.prepare(request)
        await response.write(b"." * 500)
        assert request.transport is not None
        request.transport.close()

    fake_web.pages[URL] = cut
    with pytest.raises(Unreachable):
        await fetch(client, io.BytesIO())


async def test_a_compressed_body_is_unpacked_in_bounded_memory(
    fake_web: FakeWeb, client: GuardedClient, tmp_path: Any
) -> None:
    packed = gzip.compress(b"\0" * 50_000_000)
    fake_web.pages[URL] = Page(packed, headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        with (tmp_path / "body").open("wb") as file:
            await fetch(client, file, max_bytes=50_000_000)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert (tmp_path / "body").stat().st_size == 50_000_000
    with (tmp_path / "body").open("wb") as file, pytest.raises(TooLarge):
        await fetch(client, file, max_bytes=49_999_999)


async def test_t18_a_compressed_body_that_lacks_its_end_is_an_error(
    fake_web: FakeWeb, client: GuardedClient
) -> None:
    packed = gzip.compress(bytes(range(256)) * 40)
    fake_web.pages[URL] = Page(packed[:-1], headers={"Content-Encoding": "gzip"})
    with pytest.raises(Unreachable, match="broken"):
        await fetch(client, io.BytesIO())


async def test_a_full_disk_is_not_the_hosts_fault(fake_web: FakeWeb, client: GuardedClient) -> None:
    fake_web.pages[URL] = Page(b"x" * 100_000)
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        await fetch(client, file)
