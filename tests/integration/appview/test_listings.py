"""Tracks in rows over REST: everybody's, one's own, liked, played, tagged, by address; and who likes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from appview.app import make_reader
from appview.rest import present, shapes
from appview.sound_origins import ANYWHERE, SoundOrigins
from lexicons.catalog import Catalog
from lexicons.syntax import tid_from_us
from storage import rest_feed
from tests.integration.appview.house import House


def titles(answer: Any) -> list[str]:
    return [track["title"] for track in (answer if isinstance(answer, list) else answer["tracks"])]


async def every(house: House, path: str, key: str | None = None, **query: Any) -> list[str]:
    """The titles of all pages, each of which says truly whether there is another."""
    found: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = await house.get(path, key, **query, **cursor)
        msgspec.convert(answer, shapes.TrackPage)
        found += titles(answer)
        assert answer["has_more"] == (answer["next_cursor"] is not None)
        if not answer["has_more"]:
            return found
        cursor = {"cursor": answer["next_cursor"]}


async def test_all_tracks_come_page_by_page_newest_first(house: House) -> None:
    ann, eve = house.seed.account("ann"), house.seed.account("eve", hidden=True)
    moment = datetime(2026, 5, 1, tzinfo=UTC)  # many in one moment: none is left out at a page's border
    for number in range(7):
        house.seed.track(ann, f"song {number}", at=moment + timedelta(seconds=number // 3))
    house.seed.track(eve, "unseen")
    house.seed.commit()
    expected = [f"song {number}" for number in reversed(range(7))]
    for limit in (1, 2, 3, 100):
        assert await every(house, "/tracks/", limit=limit) == expected
    assert titles(await house.get("/tracks/", limit=0)) == expected[:1]
    assert titles(await house.get("/tracks/", limit=10**6)) == expected
    assert await house.refused("/tracks/", 400, cursor="2026-05-01T00:00:00") == "invalid cursor format"
    (problem,) = await house.refused("/tracks/", 422, limit="many")
    assert problem["loc"] == ["query", "limit"]


async def test_without_a_limit_there_are_fifty(house: House) -> None:
    ann = house.seed.account("ann")
    for number in range(60):
        house.seed.track(ann, f"{number}")
    house.seed.commit()
    answer = await house.get("/tracks/", something="new")
    assert (len(answer["tracks"]), answer["has_more"]) == (50, True)
    moved = await house.studio.request("GET", "/tracks?limit=3")
    assert (moved.status, moved.headers["Location"]) == (307, "/tracks/?limit=3")


async def test_an_artist_is_named_by_did_or_handle(house: House) -> None:
    ann, bob, eve = (house.seed.account(name, hidden=name == "eve") for name in ("ann", "bob", "eve"))
    for each in (ann, bob, eve):
        house.seed.track(each, f"of {each}")
    house.seed.commit()
    for name in (house.seed.dids[ann], "ann.test", "ANN.test"):
        assert await every(house, "/tracks/", artist_did=name) == [f"of {ann}"]
    for nobody in (house.seed.dids[eve], "eve.test", "nobody.test", "did:web:x.example", "nul\0"):
        assert await every(house, "/tracks/", artist_did=nobody) == []


async def test_whoever_asks_sees_what_they_like(house: House) -> None:
    ann = house.seed.account("ann")
    house.seed.like(ann, house.seed.track(ann, "liked"))
    house.seed.track(ann, "not liked")
    house.seed.commit()
    key = await house.key(ann)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/tracks/", {}),
        ("/tracks/", {"artist_did": "ann.test"}),
        ("/tracks/top", {}),
    ]
    for path, query in asked:
        answer = await house.get(path, key, **query)
        rows = answer if isinstance(answer, list) else answer["tracks"]
        assert {row["title"]: row["is_liked"] for row in rows if row["title"] == "liked"} == {"liked": True}
        assert not any(row["is_liked"] for row in rows if row["title"] != "liked")
        anonymous = await house.get(path, "no such key", **query)
        assert not any(
            row["is_liked"] for row in (anonymous if isinstance(anonymous, list) else anonymous["tracks"])
        )


@pytest.fixture
async def mine(house: House) -> tuple[House, str]:
    """Three tracks of an account that nobody else sees, and one of another's."""
    ann, bob = house.seed.account("ann", hidden=True), house.seed.account("bob")
    for title, plays, album in (("b", 1, None), ("C", 9, "100% Night"), ("a", 5, "night_shift")):
        about: dict[str, Any] = {} if album is None else {"album": album}
        uri = house.seed.track(ann, title, **about)
        house.seed.conn.execute(
            "update track_stat set plays = %s where id = %s", (plays, house.seed.stat(uri))
        )
    house.seed.track(bob, "other")
    house.seed.commit()
    return house, await house.key(ann)


@pytest.mark.parametrize(
    ("query", "expected", "total"),
    [
        ({}, ["a", "C", "b"], 3),
        ({"sort": "title"}, ["a", "b", "C"], 3),
        ({"sort": "plays"}, ["C", "a", "b"], 3),
        ({"limit": 2}, ["a", "C"], 3),
        ({"limit": 2, "offset": 2}, ["b"], 3),
        ({"offset": 3}, [], 3),
        ({"q": "NIGHT"}, ["a", "C"], 2),
        ({"q": "0%"}, ["C"], 1),
        ({"q": "night_s"}, ["a"], 1),
        ({"q": "  "}, ["a", "C", "b"], 3),
        ({"q": "nothing"}, [], 0),
    ],
)
async def test_own_tracks_are_sorted_and_searched(
    mine: tuple[House, str], query: dict[str, Any], expected: list[str], total: int
) -> None:
    house, key = mine
    answer = await house.get("/tracks/me", key, **query)
    msgspec.convert(answer, shapes.MyTracks)
    assert (titles(answer), answer["total"]) == (expected, total)
    last = query.get("offset", 0) + len(expected) == total or not expected
    assert answer["has_more"] is not last
    assert {row["play_count"] for row in answer["tracks"]} <= {1, 5, 9}


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"sort": "shoe"}, {"offset": 2**63}]
)
async def test_what_own_tracks_cannot_be_asked_for_is_refused(
    mine: tuple[House, str], query: dict[str, Any]
) -> None:
    house, key = mine
    (problem,) = await house.refused("/tracks/me", 422, key, **query)
    assert problem["loc"][0] == "query"


@pytest.mark.parametrize("path", ["/tracks/me", "/tracks/me/broken", "/tracks/liked"])
async def test_who_is_not_signed_in_has_nothing(house: House, path: str) -> None:
    assert await house.refused(path, 401) == "not authenticated - login required"
    assert await house.refused(path, 401, "no such key") == "invalid or expired session"


async def test_broken_is_what_nobody_has_proven_for_a_while(
    house: House, database: str, catalog: Catalog
) -> None:
    ann, bob = house.seed.account("ann"), house.seed.account("bob")
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    old, new = (tid_from_us(now_us - minutes * 60_000_000) for minutes in (60, 1))
    for who, title, rev, verified in (
        (ann, "older", old, False),
        (ann, "old", old, False),
        (ann, "proven", old, True),
        (ann, "new", new, False),
        (bob, "other", old, False),
    ):
        rkey = house.seed.track(who, title).rpartition("/")[2]
        house.seed.conn.execute(
            "insert into record (repo_id, collection, rkey, rev, cid, block, verified)"
            " values (%s, %s, %s, %s, 'bafy', '', %s)",
            (who, catalog.collections.track, rkey, rev, verified),
        )
    house.seed.commit()
    answer = await house.get("/tracks/me/broken", await house.key(ann))
    msgspec.convert(answer, shapes.BrokenTracks)
    assert (titles(answer), answer["count"]) == (["old", "older"], 2)
    async with make_reader(database, connections=1) as reads:
        one = await rest_feed.unproven(reads, house.seed.dids[ann], new, catalog.collections.track, 1)
    assert [track["title"] for track in present.parsed(one, SoundOrigins([ANYWHERE]))] == ["old"]


async def test_likes_come_by_when_they_were_given(house: House) -> None:
    ann, bob, eve = (house.seed.account(name, hidden=name == "eve") for name in ("ann", "bob", "eve"))
    tracks = [house.seed.track(bob, f"{number}") for number in range(5)]
    for number in (3, 1, 4):
        house.seed.like(ann, tracks[number])
    house.seed.like(ann, tracks[3])  # a second time counts for nothing
    house.seed.like(ann, house.seed.track(eve, "hidden"))
    house.seed.commit()
    for limit in (1, 2, 100):
        assert await every(house, "/tracks/liked", await house.key(ann), limit=limit) == ["4", "1", "3"]
        assert await every(house, "/users/ann.test/likes", limit=limit) == ["4", "1", "3"]
    answer = await house.get(f"/users/{house.seed.dids[ann]}/likes", await house.key(ann))
    msgspec.convert(answer, shapes.UserLikes)
    assert answer["user"] == {
        "did": house.seed.dids[ann], "handle": "ann.test", "display_name": "Ann", "avatar_url": None
    }  # fmt: skip
    assert answer["count"] == 3
    assert all(track["is_liked"] for track in answer["tracks"])
    assert not any(track["is_liked"] for track in (await house.get("/users/ann.test/likes"))["tracks"])
    assert (await house.get("/users/bob.test/likes"))["tracks"] == []
    for nobody in ("eve.test", "nobody.test"):
        assert await house.refused(f"/users/{nobody}/likes", 404) == "user not found"


async def test_the_most_played_are_counted_over_a_time(house: House) -> None:
    ann, eve = house.seed.account("ann"), house.seed.account("eve", hidden=True)
    today = datetime.now(UTC).date()
    for title, who, plays, days in (
        ("old hit", ann, 90, {60: 90}),
        ("this month", ann, 12, {20: 12}),
        ("this week", ann, 8, {0: 1, 4: 7}),
        ("today", ann, 3, {0: 3}),
        ("hidden", eve, 99, {0: 99}),
    ):
        id = house.seed.stat(house.seed.track(who, title))
        house.seed.conn.execute("update track_stat set plays = %s where id = %s", (plays, id))
        for ago, count in days.items():
            house.seed.conn.execute(
                "insert into play_day (track_id, day, plays) values (%s, %s, %s)",
                (id, today - timedelta(days=ago), count),
            )
    house.seed.commit()
    for period, expected in {
        "all_time": ["old hit", "this month", "this week", "today"],
        "month": ["this month", "this week", "today"],
        "week": ["this week", "today"],
        "day": ["today", "this week"],
    }.items():
        answer = await house.get("/tracks/top", period=period)
        msgspec.convert(answer, list[shapes.Track])
        assert titles(answer) == expected, period
        assert titles(await house.get("/tracks/top", period=period, limit=1)) == expected[:1]
    await house.refused("/tracks/top", 422, period="century")


async def test_a_track_is_found_by_its_address(house: House) -> None:
    ann, eve = house.seed.account("ann"), house.seed.account("eve", hidden=True)
    uri, hidden = house.seed.track(ann, "one"), house.seed.track(eve, "unseen")
    house.seed.commit()
    for said in (uri, uri.replace(house.seed.dids[ann], "ann.test")):
        assert (await house.get("/tracks/by-uri", uri=said))["title"] == "one"
    for said in (hidden, uri + "x", "at://nobody.test/fm.plyr.track/x", uri.replace(".track/", ".like/")):
        assert await house.refused("/tracks/by-uri", 404, uri=said) == "track not found"
    assert await house.refused("/tracks/by-uri", 422, uri="https://x") == "uri is not an AT-URI"
    (problem,) = await house.refused("/tracks/by-uri", 422)
    assert problem == {"type": "missing", "loc": ["query", "uri"], "msg": "Field required", "input": None}


async def test_who_likes_a_track_is_told_latest_first(house: House) -> None:
    ann, bob, eve = (house.seed.account(name, hidden=name == "eve") for name in ("ann", "bob", "eve"))
    uri = house.seed.track(ann, "one")
    for each in (ann, eve, bob):
        house.seed.like(each, uri)
    house.seed.commit()
    id = (await house.get("/tracks/by-uri", uri=uri))["id"]
    answer = await house.get(f"/tracks/{id}/likes")
    msgspec.convert(answer, shapes.Likers)
    assert answer["count"] == 2
    assert [each["handle"] for each in answer["users"]] == ["bob.test", "ann.test"]
    assert datetime.fromisoformat(answer["users"][0]["liked_at"]).tzinfo is not None
    assert await house.refused("/tracks/999/likes", 404) == "track not found"
    (problem,) = await house.refused("/tracks/one/likes", 422)
    assert problem["loc"] == ["path", "track_id"]


async def test_tags_are_counted_and_lead_to_tracks(house: House) -> None:
    ann, eve = house.seed.account("ann"), house.seed.account("eve", hidden=True)
    for title, who, tags in (
        ("one", ann, ["noise", "drone"]),
        ("two", ann, ["noise"]),
        ("three", ann, ["nois/e é"]),
        ("bare", ann, None),
        ("hidden", eve, ["noise"]),
    ):
        id = house.seed.stat(house.seed.track(who, title))
        house.seed.conn.execute("update track_stat set tags = %s, plays = 4 where id = %s", (tags, id))
    house.seed.commit()
    assert await house.get("/tracks/tags") == [
        {"name": "noise", "track_count": 2, "total_plays": 8},
        {"name": "drone", "track_count": 1, "total_plays": 4},
        {"name": "nois/e é", "track_count": 1, "total_plays": 4},
    ]
    assert [each["name"] for each in await house.get("/tracks/tags", q="#NOI", limit=9)] == [
        "noise",
        "nois/e é",
    ]
    assert len(await house.get("/tracks/tags", limit=1)) == 1
    answer = await house.get("/tracks/tags/Noise")
    msgspec.convert(answer, shapes.TracksOfTag)
    assert (titles(answer), answer["tag"]) == (["two", "one"], {"name": "noise", "track_count": 2})
    assert answer["tracks"][1]["tags"] == ["noise", "drone"]
    for path in ("/tracks/tags/nois%2Fe%20%C3%A9", "/tracks/tags/nois/e é"):
        assert titles(await house.get(path)) == ["three"]
    assert await house.refused("/tracks/tags/none", 404) == "tag not found"
    assert titles(await house.get("/tracks/?tags=drone&tags=noise")) == ["two", "one"]
    many = "&".join(f"tags=drone{number}" for number in range(11))
    assert await house.refused(f"/tracks/?{many}", 400) == "maximum 10 tags allowed"
    assert titles(await house.get("/tracks/", tags="drone", artist_did="ann.test")) == ["one"]
    assert titles(await house.get("/tracks/", tags="drone", artist_did="eve.test")) == []
