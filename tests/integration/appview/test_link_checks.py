"""What another index says of likes: a second instance of ours, and servers that say something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from aiohttp import web

from appview.jobs.links import check_links
from appview.jobs.tasks import Done, TryLater, Work
from bin.cli import main
from firehose.fetch_errors import TimedOut
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from storage.postgres import make_pool
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import World, served

NOBODY = cast(Work, SimpleNamespace())  # the task does not look at whose job it is

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def check(world: World, url: str | None, at_once: int = 200, **options: float) -> Done:
    async with make_pool(world.dsn, max_size=1, name="test") as pool, GuardedClient(True) as http:
        task = check_links(pool, http, url, world.server.catalog.collections.like, at_once=at_once, **options)
        return await task(NOBODY)


def kept(world: World) -> list[tuple[Any, ...]]:
    return world.seed.conn.execute(
        "select x.uri, c.ours, c.theirs from link_check c join track_uri x on x.id = c.track_id order by 1"
    ).fetchall()


def liked(seed: Seed, *more: str) -> list[str]:
    """Three tracks, of which the third has no like, and `more` people who like the first; the same addresses
    in each database."""
    ann, bob = seed.account("ann"), seed.account("bob")
    tracks = [seed.track(ann, f"one {number}") for number in range(3)]
    for person in (ann, bob, *(seed.account(name) for name in more)):
        seed.like(person, tracks[0])
    seed.like(bob, tracks[1])
    seed.commit()
    return tracks


@pytest.fixture
async def other(another_database: str, catalog: Catalog) -> AsyncIterator[str]:
    """Address of a second instance, which knows of one like more."""
    seed = Seed(another_database, catalog)
    liked(seed, "eve")
    try:
        async with served(another_database, catalog) as server:
            yield server.url
    finally:
        seed.close()


@asynccontextmanager
async def saying(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/links/count/distinct-dids", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_an_instance_of_ours_is_asked_and_both_numbers_are_kept_and_told(
    world: World, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = liked(world.seed)
    done = await check(world, other)
    assert done.result == {"tracks": 2, "differ": 1, "refused": 0}
    assert kept(world) == [(first, 2, 3), (second, 1, 1)]

    def told(*words: str) -> str:
        assert main(["sync", "status", *words, "--database-url", world.dsn]) == 0
        return capsys.readouterr().out

    text = await asyncio.to_thread(told)
    assert f"links       2 tracks compared, 1 differ: {first} ours 2, theirs 3\n" in text
    links = orjson.loads(await asyncio.to_thread(told, "--json"))["health"]["links"]
    assert (links["tracks"], links["differ"]) == (2, 1)
    assert links["worst"] == [{"uri": first, "ours": 2, "theirs": 3}]
    metrics = (await world.server.request("GET", "/metrics")).body.decode()
    assert "plyr_links_compared 2.0" in metrics
    assert "plyr_links_differ 1.0" in metrics


async def test_the_longest_unchecked_come_first_and_some_at_a_time(world: World, other: str) -> None:
    first, second, _ = liked(world.seed)
    for _ in range(2):
        assert (await check(world, other, at_once=1)).result["tracks"] == 1
    assert [uri for uri, *_ in kept(world)] == [first, second]
    world.seed.conn.execute(
        "update link_check set theirs = 99,"
        " checked_at = checked_at - case when ours = 2 then interval '2 days' else interval '1 day' end"
    )
    world.seed.commit()
    await check(world, other, at_once=1)
    assert kept(world) == [(first, 2, 3), (second, 1, 99)]


async def test_who_is_not_named_is_not_asked_and_nothing_is_told(world: World) -> None:
    liked(world.seed)
    assert (await check(world, None)).result == {"tracks": 0, "differ": 0, "refused": 0}
    assert kept(world) == []
    assert "plyr_links" not in (await world.server.request("GET", "/metrics")).body.decode()


async def test_what_nobody_likes_any_more_is_forgotten(world: World, other: str) -> None:
    first, second, _ = liked(world.seed)
    await check(world, other)
    world.seed.conn.execute("update track_stat set likes = 0 where likes = 1")
    world.seed.conn.commit()
    await check(world, other)
    assert [uri for uri, *_ in kept(world)] == [first]
    assert second != first


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (429, b"", "HTTP status 429"),
        (500, b"", "HTTP status 500"),
        (503, b'{"total": 7}', "HTTP status 503"),
        (200, b"<html>", "not JSON"),
        (200, b'{"total": "7"}', "no number"),
        (200, b'{"total": -1}', "no number"),
        (200, b'{"total": true}', "no number"),
        (200, b'{"total": 7.5}', "no number"),
        (200, b'{"total": 99999999999}', "no number"),
        (200, b'{"count": 7}', "no number"),
        (200, b"[7]", "no number"),
        (200, b'{"total": 7, "x": "' + b"x" * 5000 + b'"}', "more than 4096"),
        (404, b"", "tells of none of 2 tracks"),
    ],
)
async def test_an_answer_that_is_none_is_asked_for_later_and_not_kept(
    world: World, status: int, body: bytes, reason: str
) -> None:
    liked(world.seed)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={"Retry-After": "99999"})

    async with saying(answer) as url:
        with pytest.raises(TryLater, match=reason) as raised:
            await check(world, url)
    assert raised.value.wait_s == (3600.0 if status in (429, 500, 503) else None)
    assert kept(world) == []


async def test_nobody_there_is_tried_later(world: World) -> None:
    liked(world.seed)
    async with saying(_never) as url:
        pass
    with pytest.raises(TryLater):
        await check(world, url)
    assert kept(world) == []


async def test_who_takes_too_long_is_tried_later(world: World) -> None:
    liked(world.seed)
    asked_enough = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "12"})
        await response.prepare(request)
        await response.write(b'{"tot')
        await asked_enough.wait()
        return response

    async with saying(answer) as url:
        with pytest.raises(TryLater) as raised:
            await check(world, url, timeout_s=0.2)
        asked_enough.set()
    assert isinstance(raised.value.__cause__, TimedOut)
    assert kept(world) == []


async def test_what_was_told_before_a_refusal_is_kept_and_who_is_asked_sees_who_asks(world: World) -> None:
    """One question is refused for good, the other is answered."""
    first, second, _ = liked(world.seed)
    seen: list[tuple[str | None, str | None]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.headers.get("User-Agent"), request.headers.get("Accept")))
        assert request.query["collection"] == "fm.plyr.like"
        assert request.query["path"] == ".subject.uri"
        if request.query["target"] == first:
            raise web.HTTPBadRequest
        return web.json_response({"total": 1})

    async with saying(answer) as url:
        assert (await check(world, url)).result == {"tracks": 1, "differ": 0, "refused": 1}
    assert kept(world) == [(second, 1, 1)]
    assert seen == [("plyr", "application/json")] * 2


async def _never(request: web.Request) -> web.StreamResponse:
    raise AssertionError
