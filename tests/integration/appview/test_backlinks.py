"""Who points at a track, as one asks an index of links; what we don't index is no zero."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.integration.appview.service import World

LIKE: dict[str, Any] = {"collection": "fm.plyr.like", "path": ".subject.uri"}
COMMENT: dict[str, Any] = {"collection": "fm.plyr.comment", "path": ".subject.uri"}
LIST: dict[str, Any] = {"collection": "fm.plyr.list", "path": ".items[].subject.uri"}


async def ask(world: World, route: str, status: int = 200, **query: Any) -> Any:
    answer = await world.server.request("GET", f"/links{route}?{urlencode(query)}")
    assert answer.status == status, answer.body
    return answer.json


@pytest.fixture
def track(world: World) -> str:
    """Liked by three, one of them twice and one out of sight; two comments of one; twice in one list."""
    ann, bob, eve = (
        world.seed.account("ann"),
        world.seed.account("bob"),
        world.seed.account("eve", hidden=True),
    )
    track, other = world.seed.track(ann, "one"), world.seed.track(ann, "two")
    for liker in (ann, bob, bob, eve):
        world.seed.like(liker, track)
    world.seed.like(ann, other)
    for text in ("lovely", "again"):
        world.seed.comment(bob, track, text)
    world.seed.comment(eve, track, "not seen")
    world.seed.list_of(ann, "mix", [track, other, track])
    world.seed.commit()
    return track


async def test_links_are_counted_by_record_and_by_account(world: World, track: str) -> None:
    assert await ask(world, "/count", target=track, **LIKE) == {"total": 3}
    assert await ask(world, "/count/distinct-dids", target=track, **LIKE) == {"total": 2}
    assert await ask(world, "/count", target=track, **COMMENT) == {"total": 2}
    assert await ask(world, "/count/distinct-dids", target=track, **COMMENT) == {"total": 1}
    assert await ask(world, "/count", target=track, **LIST) == {"total": 1}
    assert await ask(world, "/all", target=track) == {
        "links": {
            "fm.plyr.like": {".subject.uri": {"records": 3, "distinct_dids": 2}},
            "fm.plyr.comment": {".subject.uri": {"records": 2, "distinct_dids": 1}},
            "fm.plyr.list": {".items[].subject.uri": {"records": 1, "distinct_dids": 1}},
        }
    }
    unknown = track[:-4] + "zzzz"
    assert await ask(world, "/all", target=unknown) == {"links": {}}
    assert await ask(world, "/count", target=unknown, **LIKE) == {"total": 0}


@pytest.mark.parametrize(("source", "count"), [(LIKE, 3), (COMMENT, 2), (LIST, 1)])
async def test_the_records_come_page_by_page_latest_first(
    world: World, track: str, source: dict[str, Any], count: int
) -> None:
    found: list[dict[str, str]] = []
    query: dict[str, Any] = {"target": track, "limit": 1, **source}
    while True:
        page = await ask(world, "", **query)
        assert page["total"] == count
        found += page["linking_records"]
        if page["cursor"] is None:
            break
        query["cursor"] = page["cursor"]
    assert len(found) == len({(each["did"], each["rkey"]) for each in found}) == count
    assert {each["collection"] for each in found} == {source["collection"]}
    keys = [each["rkey"] for each in found]
    assert keys == sorted(keys, reverse=True)


async def test_what_cannot_be_told_is_no_zero(world: World, track: str) -> None:
    await ask(world, "/count", 400, target=track, collection="app.bsky.feed.like", path=".subject.uri")
    await ask(world, "/count", 400, target=track, collection="fm.plyr.like", path=".subject.cid")
    for target in ("", "did:plc:abc", "at://ann.test/fm.plyr.track/3jzfcijpj2z2a", "https://x.test/"):
        await ask(world, "/all", 400, target=target)
    await ask(world, "/all", 422)
    await ask(world, "/count", 422, target=track)
    await ask(world, "", 422, target=track, limit=101, **LIKE)
    await ask(world, "", 400, target=track, cursor="zzz", **LIKE)
