"""One text over REST, looked for among everything."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from appview.rest import site_shapes
from appview.rest.search import LEAST, relevance
from indexer.albums import album_id
from tests.integration.appview.house import House


@pytest.fixture
async def shelf(house: House) -> House:
    """Rain, in every kind."""
    seed = house.seed
    rain = seed.account("rain", display_name="Rain Álvarez", avatar="https://x.test/rain.png")
    ann, eve = seed.account("ann"), seed.account("eve", hidden=True, display_name="Rain of Eve")
    seed.track(ann, "Rain", imageUrl="https://x.test/one.png")
    seed.track(ann, "Rain in May", album="Rainy Days", imageUrl="https://x.test/two.png")
    seed.track(rain, "Sun", album="Álbum")
    seed.track(ann, "Moon", album="Rainy Days")
    seed.track(eve, "Rain unseen", album="Rain unseen")
    for uri in (seed.track(ann, "Tagged"), seed.track(ann, "Also")):
        seed.conn.execute("update track_stat set tags = '{rain,noise}' where id = %s", (seed.stat(uri),))
    seed.commit()
    return house


async def found(house: House, **query: Any) -> dict[str, list[str]]:
    """What was found of each kind, in its order, by name."""
    answer = await house.get("/search/", **query)
    told = msgspec.convert(answer, site_shapes.Search)
    relevances = [each.relevance for each in told.results]
    assert relevances == sorted(relevances, reverse=True)
    names: dict[str, list[str]] = {kind: [] for kind in told.counts}
    for each in answer["results"]:
        names[each["type"] + "s"].append(each.get("title") or each.get("display_name") or each.get("name"))
    assert {kind: len(each) for kind, each in names.items()} == told.counts
    return names


async def test_every_kind_is_found_and_nobody_hidden(shelf: House) -> None:
    assert await found(shelf, q="rain") == {
        "tracks": ["Rain", "Rain in May", "Sun", "Moon"],
        "artists": ["Rain Álvarez"],
        "albums": ["Rainy Days"],
        "tags": ["rain"],
    }
    assert (await found(shelf, q="ALBUM"))["albums"] == ["Álbum"]
    assert (await found(shelf, q="rain may"))["tracks"] == ["Rain in May"]
    assert not any((await found(shelf, q="unseen")).values())
    assert (await found(shelf, q="!? \0"))["tracks"] == []


async def test_what_is_shown_of_each(shelf: House) -> None:
    results = (await shelf.get("/search/", q="rain"))["results"]
    one = {each["type"]: each for each in reversed(results)}
    ann = next(did for did in shelf.seed.dids.values() if did == shelf.seed.dids[2])
    assert one["track"] | {"id": 0} == {
        "type": "track", "id": 0, "title": "Rain", "artist_handle": "ann.test", "artist_display_name": "Ann",
        "image_url": "https://x.test/one.png", "relevance": 1.0,
    }  # fmt: skip
    assert one["artist"] == {
        "type": "artist", "did": shelf.seed.dids[1], "handle": "rain.test", "display_name": "Rain Álvarez",
        "avatar_url": "https://x.test/rain.png", "relevance": one["artist"]["relevance"],
    }  # fmt: skip
    assert one["album"] == {
        "type": "album", "id": album_id(ann, "rainy-days"), "title": "Rainy Days", "slug": "rainy-days",
        "artist_handle": "ann.test", "artist_display_name": "Ann", "image_url": one["album"]["image_url"],
        "relevance": relevance("rain", "Rainy Days"),
    }  # fmt: skip
    assert (one["tag"]["name"], one["tag"]["track_count"], one["tag"]["relevance"]) == ("rain", 2, 1.0)


async def test_kinds_are_asked_for_by_name(shelf: House) -> None:
    assert (await found(shelf, q="rain", type="artist,Tags")) == {
        "tracks": [], "artists": ["Rain Álvarez"], "albums": [], "tags": ["rain"]
    }  # fmt: skip
    assert len((await found(shelf, q="rain", limit=1))["tracks"]) == 1
    assert await shelf.refused("/search/", 400, q="rain", type="shoes") == "unknown type of search: shoes"
    for query in ({}, {"q": "x"}, {"q": "x" * 101}, {"q": "rain", "limit": 0}, {"q": "rain", "limit": 51}):
        (problem,) = await shelf.refused("/search/", 422, **query)
        assert problem["loc"][0] == "query"


def test_relevance_is_the_share_of_a_name() -> None:
    assert relevance("Sigur Ros", "Sigur Rós") == 1
    assert relevance("rain", "Rain in May") > relevance("rain", "Rain in the whole of May")
    assert relevance("rain sun", "Rain in May") == relevance("x", "") == LEAST
    assert LEAST < relevance("ra", "Rain") < 1
