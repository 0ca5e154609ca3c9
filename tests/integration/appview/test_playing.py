"""Plays and analytics over HTTP: who counts as whom, and what artists are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from ipaddress import ip_network

import aiohttp
import psycopg
import pytest
from aiohttp import web

from appview.app import make_reader
from appview.auth.keyring import GivenKeys, KeyRing, new_key
from appview.clients import Clients
from appview.errors import InvalidToken
from appview.listeners import COOKIE, Listeners, eraser
from appview.play_counter import PlayCounter
from appview.rest.plays import Plays
from appview.viewer import Viewer
from lexicons.catalog import Catalog
from storage import analytics, plays
from storage.postgres import make_pool
from storage.reader import Reads
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import Answer, World, served, viewer_of

RING = KeyRing(GivenKeys([new_key()]))
PROXY, PER_ADDRESS = ip_network("127.0.0.0/8"), 3


async def viewer(request: web.Request) -> Viewer | None:
    """As `viewer_of`; a bearer token never holds."""
    if "Authorization" in request.headers:
        raise InvalidToken
    return await viewer_of(request)


@pytest.fixture
async def world(database: str, catalog: Catalog) -> AsyncIterator[World]:
    seed = Seed(database, catalog)
    async with make_pool(database, max_size=2, name="plyr test") as pool:
        listeners = Listeners(pool, RING, Clients([PROXY]), viewer, secure=False)

        def parts(_: Reads) -> dict[str, object]:
            return {"plays": Plays(PlayCounter(pool, per_address=PER_ADDRESS), listeners)}

        try:
            async with served(database, catalog, parts=parts) as server:
                yield World(server, seed, database)
        finally:
            seed.close()


async def play(world: World, track: int | str, **headers: str) -> Answer:
    return await world.server.request(
        "POST",
        f"/tracks/{track}/play",
        headers={name.replace("_", "-"): text for name, text in headers.items()},
    )


def cookie_of(answer: Answer) -> str:
    jar = SimpleCookie(answer.headers["Set-Cookie"])
    morsel = jar[COOKIE]
    assert morsel["httponly"]
    assert morsel["samesite"] == "Lax"
    return f"{COOKIE}={morsel.value}"


@pytest.fixture
async def track(world: World) -> int:
    uri = world.seed.track(world.seed.account("ann"), "one", duration=100)
    number = world.seed.stat(uri)
    world.seed.commit()
    # aiohttp's own jar would hand every cookie back.
    world.server.http._cookie_jar = aiohttp.DummyCookieJar()
    return number


async def test_a_play_counts_once_for_each_listener(world: World, track: int) -> None:
    first = await play(world, track, User_Agent="one")
    assert (first.status, first.json) == (200, {"play_count": 1})
    cookie = cookie_of(first)
    assert (await play(world, track, User_Agent="one")).json == {"play_count": 1}  # the same address
    again = await play(world, track, User_Agent="one", Cookie=cookie)  # the same browser
    assert again.json == {"play_count": 1}
    assert "Set-Cookie" not in again.headers
    second = await play(world, track, User_Agent="two")
    assert second.json == {"play_count": 2}
    assert (await play(world, track, Cookie=cookie_of(second))).json == {"play_count": 2}
    assert (await play(world, track)).json == {"play_count": 3}
    signed_in = await play(world, track, X_Viewer="did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", Cookie=cookie)
    assert signed_in.json == {"play_count": 4}
    assert (await play(world, track, X_Viewer="did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")).json == {"play_count": 4}
    assert (await world.server.ask("feed.getTrack", {"uri": _uri(world)}))["track"]["stats"]["plays"] == 4


def _uri(world: World) -> str:
    row = world.seed.conn.execute("select uri from track_uri").fetchone()
    assert row is not None
    world.seed.conn.rollback()
    return row[0]


async def test_a_token_that_does_not_hold_is_nobodys(world: World, track: int) -> None:
    assert (await play(world, track, Authorization="Bearer no", User_Agent="one")).json == {"play_count": 1}
    assert (await play(world, track, User_Agent="one")).json == {"play_count": 1}


async def test_what_we_did_not_make_is_no_cookie(world: World, track: int) -> None:
    made = cookie_of(await play(world, track, User_Agent="one"))
    for value in ("short", "x" * 43, f"{'x' * 43}.{'0' * 32}", made[len(COOKIE) + 1 :] + "0", ".", ""):
        answer = await play(world, track, User_Agent="one", Cookie=f"{COOKIE}={value}")
        assert answer.json == {"play_count": 1}, value
        assert cookie_of(answer) != made


async def test_from_one_address_only_so_many_without_an_account_count(world: World, track: int) -> None:
    async def plays(address: str, *names: str) -> list[int]:
        answers = [await play(world, track, User_Agent=name, X_Forwarded_For=address) for name in names]
        assert {answer.status for answer in answers} == {200}
        cookies = [cookie_of(answer) for answer in answers]
        again = [await play(world, track, Cookie=cookie, X_Forwarded_For=address) for cookie in cookies]
        assert {answer.json["play_count"] for answer in again} == {answers[-1].json["play_count"]}
        return [answer.json["play_count"] for answer in answers]

    assert await plays("203.0.113.9", *"abcde") == [1, 2, 3, 3, 3]
    assert await plays("2001:db8:1:2::1", *"ab") == [4, 5]
    assert await plays("2001:db8:1:2::2", *"cd") == [6, 6]  # the same /64
    for number, did in enumerate(("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", "did:plc:cccccccccccccccccccccccc")):
        answer = await play(world, track, X_Viewer=did, X_Forwarded_For="203.0.113.9")
        assert answer.json == {"play_count": 7 + number}
    by_xrpc = await world.server.request(
        "POST",
        "/xrpc/fm.plyr.audio.recordPlay",
        json={"uri": _uri(world)},
        headers={"X-Forwarded-For": "203.0.113.9", "User-Agent": "f"},
    )
    assert by_xrpc.json == {"plays": 8, "counted": False}


async def test_a_play_by_xrpc_is_of_the_same_listeners(world: World, track: int) -> None:
    uri = _uri(world)

    async def record(uri: str, **headers: str) -> Answer:
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        path = "/xrpc/fm.plyr.audio.recordPlay"
        return await world.server.request("POST", path, json={"uri": uri}, headers=names)

    somebody = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
    assert (await record(uri, X_Viewer=somebody)).json == {"plays": 1, "counted": True}
    assert (await record(uri, X_Viewer=somebody)).json == {"plays": 1, "counted": False}
    assert (await play(world, track, X_Viewer=somebody)).json == {"play_count": 1}
    by_handle = uri.replace(next(iter(world.seed.dids.values())), "ann.test")
    assert (await record(by_handle, User_Agent="one")).json == {"plays": 2, "counted": True}
    assert (await play(world, track, User_Agent="one")).json == {"play_count": 2}
    missing = await record(uri + "x")
    assert (missing.status, missing.json["error"]) == (400, "TrackNotFound")


async def test_what_is_not_there_or_hidden_is_not_found(world: World, track: int) -> None:
    assert (await play(world, track + 1)).json == {"detail": "track not found"}
    assert (await play(world, "x")).status == 422
    assert (await play(world, 10**30)).status == 422
    world.seed.conn.execute("update profile set hidden = true")
    world.seed.commit()
    assert (await play(world, track)).status == 404
    elsewhere = await play(world, track, Origin="https://else.example", Cookie="session_id=x")
    assert elsewhere.status == 403


async def test_nothing_that_is_written_down_names_a_listener(world: World, track: int) -> None:
    did = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
    await play(world, track, X_Viewer=did)
    async with await psycopg.AsyncConnection.connect(world.dsn, autocommit=True) as conn:
        before = await (await conn.execute("select listener from play")).fetchall()
        await eraser(RING)(conn, did)  # type: ignore[arg-type]
        after = await (await conn.execute("select listener from play")).fetchall()
        claims = await (await conn.execute("select count(*) from play_claim")).fetchone()
    assert len(before) == len(after) == 1
    assert before != after
    assert len(bytes(before[0][0])) == 16
    assert claims == (0,)


async def test_an_artist_has_the_counts_of_their_own_tracks(world: World, track: int) -> None:
    ann, bob = next(iter(world.seed.dids)), world.seed.account("bob")
    liked = world.seed.track(ann, "liked", duration=90)
    world.seed.track(ann, "longer than anything", duration=(1 << 63) - 1)
    world.seed.like(bob, liked)
    other = world.seed.stat(world.seed.track(bob, "of somebody else"))
    world.seed.commit()
    for user in ("one", "two"):
        await play(world, track, User_Agent=user)
    await play(world, other)
    did = world.seed.dids[ann]
    found = await world.server.request("GET", f"/artists/{did}/analytics")
    assert found.json == {
        "total_plays": 2,
        "total_items": 3,
        "total_duration_seconds": 190,
        "top_item": {"id": track, "title": "one", "play_count": 2},
        "top_liked": {"id": world.seed.stat(liked), "title": "liked", "play_count": 1},
    }
    world.seed.conn.rollback()
    nobody = {"total_plays": 0, "total_items": 0, "total_duration_seconds": 0}
    nobody |= {"top_item": None, "top_liked": None}
    assert (await world.server.request("GET", "/artists/did:plc:x/analytics")).json == nobody
    world.seed.conn.execute("update profile set hidden = true where repo_id = %s", (ann,))
    world.seed.commit()
    assert (await world.server.request("GET", f"/artists/{did}/analytics")).json == nobody
    for path in ("/artists/me/analytics", "/artists/me/analytics/days"):
        assert (await world.server.request("GET", path)).status == 401


async def test_the_top_is_by_plays_then_likes_then_age(world: World, track: int) -> None:
    ann = next(iter(world.seed.dids))
    names = {"one": world.seed.track(ann, "two plays")}
    for name, counted in (("a", 1), ("b", 1), ("c", 0), ("d", 0), ("e", 0)):
        names[name] = world.seed.track(ann, name)
        world.seed.conn.execute(
            "update track_stat set plays = %s where id = %s", (counted, world.seed.stat(names[name]))
        )
    world.seed.conn.execute("update track_stat set plays = 2 where id = %s", (world.seed.stat(names["one"]),))
    for number in range(3):
        world.seed.like(world.seed.account(f"fan{number}"), names["d"])
    world.seed.like(ann, names["a"])
    world.seed.like(ann, names["c"])
    world.seed.commit()
    wanted = ["two plays", "a", "b", "d", "c"]
    page = await world.server.ask("feed.getTop")
    assert [one["record"]["title"] for one in page["tracks"]] == wanted
    seen, cursor = [], None
    while True:
        page = await world.server.ask("feed.getTop", {"limit": 2} | ({"cursor": cursor} if cursor else {}))
        seen += [one["record"]["title"] for one in page["tracks"]]
        if (cursor := page.get("cursor")) is None:
            break
    assert seen == wanted


async def test_each_day_has_its_plays(world: World, track: int) -> None:
    today = datetime.now(UTC)
    async with await psycopg.AsyncConnection.connect(world.dsn, autocommit=True) as conn:
        for number, days in enumerate((0, 1, 1, 3, 40)):
            who = plays.Listener(number.to_bytes(16, "big"))
            await plays.record(conn, track, [who], at=today - timedelta(days=days))
        await plays.roll_up(conn)
    did = next(iter(world.seed.dids.values()))
    async with make_reader(world.dsn, connections=1) as reads:
        found = await analytics.days(reads, did, today.date() - timedelta(days=3), today.date())
    assert [count for _, count in found] == [1, 0, 2, 1]
    assert [day for day, _ in found] == [(today.date() - timedelta(days=n)).isoformat() for n in (3, 2, 1, 0)]
