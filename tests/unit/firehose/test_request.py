"""What the guarded client sends: to one address, once, under the same guards as what it fetches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from firehose.fetch_errors import Blocked, TimedOut, TooLarge, Unreachable
from firehose.net import GuardedClient, Streamed
from tests.fakenet.http import FakeWeb, Page, json_page, redirect
from tests.fakenet.misdeeds import endless, garbled, silent, slow

HOST = "a.plyr-test.dev"
URL = f"https://{HOST}/post"
LIMITS = {"max_bytes": 10_000, "timeout_s": 5.0}


async def mirror(request: web.Request, response: web.StreamResponse) -> None:
    """What was sent: method, content type, body."""
    body = await request.read()
    kind = request.headers.get("Content-Type", "none")
    response.headers["X-Seen"] = f"{request.method} {kind} {request.headers.get('X-Mine', '-')}"
    await response.prepare(request)
    await response.write(body)


@pytest.mark.parametrize(
    ("method", "sent", "seen", "body"),
    [
        ("POST", {"form": {"a b": "ü&="}}, "POST application/x-www-form-urlencoded -", b"a+b=%C3%BC%26%3D"),
        ("POST", {"json": {"a": [1, "ü"]}}, "POST application/json -", '{"a":[1,"ü"]}'.encode()),
        ("POST", {"body": b"\0\xff"}, "POST none -", b"\0\xff"),
        (
            "POST",
            {"body": b"x", "headers": {"Content-Type": "audio/mpeg", "X-Mine": "1"}},
            "POST audio/mpeg 1",
            b"x",
        ),
        ("POST", {}, "POST none -", b""),
        ("PUT", {"json": None, "body": b"y"}, "PUT none -", b"y"),
        ("GET", {}, "GET none -", b""),
        ("DELETE", {}, "DELETE none -", b""),
    ],
)
async def test_what_is_given_is_sent(
    client: GuardedClient, fake_web: FakeWeb, method: str, sent: dict[str, Any], seen: str, body: bytes
) -> None:
    fake_web.pages[URL] = mirror
    answer = await client.request(method, URL, **sent, **LIMITS)
    assert (answer.status, answer.headers["X-Seen"], answer.body) == (200, seen, body)


async def test_a_body_that_is_too_large_to_hold_is_streamed_with_its_length(
    client: GuardedClient, fake_web: FakeWeb
) -> None:
    async def sizes(request: web.Request, response: web.StreamResponse) -> None:
        count = sum([len(chunk) async for chunk in request.content.iter_any()])
        response.headers["X-Seen"] = f"{count} {request.headers.get('Transfer-Encoding', 'whole')}"
        await response.prepare(request)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(50_000)

    fake_web.pages[URL] = sizes
    body = Streamed(2_000_000, chunks)
    for _ in range(2):
        answer = await client.request("POST", URL, body=body, **LIMITS)
        assert answer.headers["X-Seen"] == "2000000 whole"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_nobody_else_hears_of_it(
    client: GuardedClient, fake_web: FakeWeb, status: int
) -> None:
    for target in (f"https://{fake_web.host('b.plyr-test.dev')}/", "https://10.0.0.1/", "/elsewhere"):
        fake_web.pages[URL] = redirect(target, status)
        for method in ("GET", "POST"):
            answer = await client.request(method, URL, form={"secret": "x"}, **LIMITS)
            assert (answer.status, answer.headers["Location"]) == (status, target)
    assert set(fake_web.requests) == {URL}


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_any_status_is_an_answer(client: GuardedClient, fake_web: FakeWeb, status: int) -> None:
    fake_web.pages[URL] = json_page({"error": "x"}, status)
    answer = await client.request("POST", URL, form={}, **LIMITS)
    assert (answer.status, answer.body) == (status, b'{"error":"x"}')


async def test_t34_nothing_is_sent_to_an_address_that_we_do_not_go_to(
    client: GuardedClient, fake_web: FakeWeb
) -> None:
    fake_web.names.table["inside.plyr-test.dev"] = [("192.168.1.1", None)]
    for url in ("https://10.0.0.1/", "http://example.com/", "https://inside.plyr-test.dev/"):
        with pytest.raises(Blocked):
            await client.request("POST", url, body=b"x", **LIMITS)


async def test_t35_an_answer_is_cut_in_size_and_time(client: GuardedClient, fake_web: FakeWeb) -> None:
    for page, error in ((endless, TooLarge), (slow, TimedOut), (silent, TimedOut)):
        fake_web.pages[URL] = page
        with pytest.raises(error):
            await client.request("POST", URL, body=b"x", max_bytes=10_000, timeout_s=0.3)


async def test_what_may_have_arrived_is_not_sent_again(client: GuardedClient, fake_web: FakeWeb) -> None:
    """Also not on a connection that was kept from before, where a GET would be repeated."""

    async def hang_up(request: web.Request, response: web.StreamResponse) -> None:
        await request.read()
        assert request.transport is not None
        request.transport.close()

    fake_web.pages[f"https://{HOST}/"] = Page(b"")
    fake_web.pages[URL] = hang_up
    await client.request("GET", f"https://{HOST}/", **LIMITS)
    with pytest.raises(Unreachable):
        await client.request("POST", URL, body=b"x", **LIMITS)
    assert fake_web.requests.count(URL) == 1


async def test_what_is_no_http_is_unreachable(client: GuardedClient, fake_web: FakeWeb) -> None:
    fake_web.pages[URL] = garbled
    with pytest.raises(Unreachable):
        await client.request("POST", URL, form={"a": "b"}, **LIMITS)


async def test_a_client_that_is_not_open_sends_nothing() -> None:
    with pytest.raises(RuntimeError):
        await GuardedClient().request("POST", "https://example.com/", **LIMITS)
