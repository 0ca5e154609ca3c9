"""Rule X6: paging shows what is there all along once, whatever comes and goes meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.appview.seed import START, Seed
from tests.integration.appview.service import World

ITEMS = 1000


async def pages(
    world: World, name: str, params: dict[str, Any], key: str, limit: int, meanwhile: Callable[[], None]
):
    """All items of a listing; `meanwhile` is called between pages."""
    items: list[Any] = []
    cursor: str | None = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        answer = await world.server.ask(name, {**params, "limit": limit, **more})
        assert len(answer[key]) <= limit
        items += answer[key]
        if "cursor" not in answer:
            return items
        assert len(answer[key]) == limit
        assert answer["cursor"] != cursor
        cursor = answer["cursor"]
        meanwhile()


def tie(number: int):
    """Times of which many are equal, so that ties lie on page borders."""
    return START + timedelta(seconds=number // 7)


class Churn:
    """Adds and removes rows at random places among those that stay."""

    def __init__(self, seed: Seed, add: Callable[[int], Any], remove: Callable[[Any], None]) -> None:
        self._seed, self._add, self._remove = seed, add, remove
        self._random = random.Random(7)
        self._passing = [add(self._random.randrange(ITEMS)) for _ in range(100)]
        self.rounds = 0
        seed.commit()

    def __call__(self) -> None:
        self.rounds += 1
        for _ in range(5):
            self._remove(self._passing.pop(self._random.randrange(len(self._passing))))
            self._passing.append(self._add(self._random.randrange(ITEMS)))
        self._seed.commit()


async def test_x6_latest_repeats_and_skips_none(world: World):
    seed = world.seed
    ann = seed.account("ann")
    lasting = [seed.track(ann, "stays", at=tie(number)) for number in range(ITEMS)]
    stays = set(lasting)
    churn = Churn(seed, lambda number: seed.track(ann, "passes", at=tie(number)), seed.forget)
    for name, params in (("feed.getLatest", {}), ("feed.getActorTracks", {"actor": "ann.test"})):
        seen = [track["uri"] for track in await pages(world, name, params, "tracks", 37, churn)]
        assert len(seen) == len(set(seen))
        assert [uri for uri in seen if uri in stays] == lasting[::-1]
    assert churn.rounds > 50


async def test_x6_likes_repeat_and_skip_none(world: World):
    seed = world.seed
    ann = seed.account("ann")
    track = seed.track(ann, "one")
    fans = [seed.account(f"fan{number}") for number in range(ITEMS)]
    lasting = [seed.like(fan, track, at=tie(number)) for number, fan in enumerate(fans)]

    def add(number: int) -> str:
        return seed.like(seed.account(f"more{len(seed.dids)}"), track, at=tie(number))

    def remove(uri: str) -> None:
        seed.conn.execute('delete from "like" where rkey = %s', (uri.rpartition("/")[2],))

    churn = Churn(seed, add, remove)
    answer = await pages(world, "feed.getLikes", {"uri": track}, "likes", 41, churn)
    seen = [like["uri"] for like in answer]
    assert len(seen) == len(set(seen))
    assert set(lasting) <= set(seen)
    assert churn.rounds > 20


async def test_x6_comments_repeat_and_skip_none(world: World):
    seed = world.seed
    ann = seed.account("ann")
    track = seed.track(ann, "one")
    lasting = [seed.comment(ann, track, "hm", number // 9 * 1000) for number in range(ITEMS)]

    def remove(uri: str) -> None:
        seed.conn.execute("delete from comment where rkey = %s", (uri.rpartition("/")[2],))

    churn = Churn(seed, lambda number: seed.comment(ann, track, "x", number // 9 * 1000), remove)
    answer = await pages(world, "feed.getComments", {"uri": track}, "comments", 43, churn)
    seen = [comment["uri"] for comment in answer]
    assert len(seen) == len(set(seen))
    assert [uri for uri in seen if uri in set(lasting)] == lasting
    assert churn.rounds > 20


async def test_x6_every_other_listing_pages_through_all_of_it_once(world: World):
    seed = world.seed
    ann, bob = seed.account("ann"), seed.account("bob")
    tracks = [seed.track(ann, f"song {number}", at=tie(number)) for number in range(60)]
    for track in tracks:
        seed.like(bob, track, at=START)
        seed.list_of(bob, "mix", [])
    for number in range(60):
        seed.account(f"singer{number}", display_name="Singer")
    album = seed.list_of(ann, "all", [*tracks, *tracks])
    seed.commit()
    listings: list[tuple[str, dict[str, Any], str, Callable[[Any], Any], int]] = [
        ("feed.getTop", {}, "tracks", lambda item: item["uri"], 60),
        ("feed.searchTracks", {"q": "song"}, "tracks", lambda item: item["uri"], 60),
        ("feed.getActorLikes", {"actor": "bob.test"}, "likes", lambda item: item["track"]["uri"], 60),
        ("actor.searchActors", {"q": "singer"}, "actors", lambda item: item["did"], 60),
        ("graph.getActorLists", {"actor": "bob.test"}, "lists", lambda item: item["uri"], 60),
        ("graph.getList", {"list": album}, "items", lambda item: item["position"], 120),
    ]
    for name, params, key, identity, total in listings:
        whole = [identity(item) for item in await pages(world, name, params, key, 100, lambda: None)]
        parts = [identity(item) for item in await pages(world, name, params, key, 7, lambda: None)]
        assert len(set(parts)) == len(parts) == total, name
        assert parts == whole, name


@pytest.mark.parametrize(
    ("count", "limit", "more"), [(3, 3, False), (4, 3, True), (100, 100, False), (101, 100, True)]
)
async def test_x6_there_is_a_cursor_exactly_if_there_is_more(
    world: World, count: int, limit: int, more: bool
):
    ann = world.seed.account("ann")
    for number in range(count):
        world.seed.track(ann, f"{number}")
    world.seed.commit()
    answer = await world.server.ask("feed.getLatest", {"limit": limit})
    assert len(answer["tracks"]) == limit
    assert ("cursor" in answer) is more
