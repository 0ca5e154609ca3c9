"""Search finds by words, without regard to accents, case and what people paste into a search box."""

from __future__ import annotations

import psycopg
import pytest

from lexicons.catalog import Catalog
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import World, served

HOSTILE = [
    "'",
    "''",
    '"',
    "\\",
    ":*",
    "a:*",
    "!",
    "& | ! ( )",
    "a & b",
    "a <-> b",
    "'a':*B",
    "\x00",
    "a\x00b",
    "%",
    "_",
    "; drop table track; --",
    "\ud7ff\ue000",
    "\u202e\u200b",
    "a" * 10_000,
    "a " * 5_000,
    "é" * 5_000,
    "日" * 3_000,
    "$1",
    "${jndi}",
    "{}",
]


@pytest.fixture
def library(world: World) -> World:
    seed = world.seed
    sigur, ann, zoe = (
        seed.account("sigur"),
        seed.account("ann"),
        seed.account("zoe", display_name="Zoë Straße"),
    )
    seed.track(sigur, "Ágætis byrjun", artist="Sigur Rós", album="Ágætis byrjun")
    seed.track(sigur, "Svefn-g-englar", artist="Sigur Rós", album="Ágætis byrjun")
    seed.track(ann, "Łódź o świcie", artist="Ann")
    seed.track(ann, "夜に駆ける", artist="Ann")
    seed.track(zoe, "Hello, world!", artist="Z.")
    seed.commit()
    return world


FOUND: dict[str, set[str]] = {
    "agaetis": {"Ágætis byrjun", "Svefn-g-englar"},
    "ÁGÆTIS BYRJUN": {"Ágætis byrjun", "Svefn-g-englar"},
    "svefn": {"Svefn-g-englar"},
    "svefn englar": {"Svefn-g-englar"},
    "sigur ros": {"Ágætis byrjun", "Svefn-g-englar"},
    "ros svef": {"Svefn-g-englar"},
    "lodz": {"Łódź o świcie"},
    "駆ける": {"夜に駆ける"},
    "strasse": {"Hello, world!"},
    "zoe hello": {"Hello, world!"},
    "zoe.test": {"Hello, world!"},
    "hell": {"Hello, world!"},
    "ello": set(),
    "hello byrjun": set(),
    "": set(),
    "!?": set(),
}


async def test_tracks_are_found_by_title_artist_album_and_author(library: World):
    for query, found in FOUND.items():
        answer = await library.server.ask("feed.searchTracks", {"q": query})
        assert {track["record"]["title"] for track in answer["tracks"]} == found, query


async def test_the_closest_match_comes_first(world: World):
    ann = world.seed.account("ann")
    for title in ("rain in the city on a long day", "rain", "rain dance"):
        world.seed.track(ann, title)
    world.seed.commit()
    answer = await world.server.ask("feed.searchTracks", {"q": "rain"})
    assert answer["tracks"][0]["record"]["title"] == "rain"


async def test_accounts_are_found_by_handle_and_name(library: World):
    for query, found in {
        "zoe": ["zoe.test"],
        "STRASSE z": ["zoe.test"],
        "sigur.te": ["sigur.test"],
        "q": [],
    }.items():
        answer = await library.server.ask("actor.searchActors", {"q": query})
        assert [actor["handle"] for actor in answer["actors"]] == found


@pytest.mark.parametrize(
    ("method", "key"), [("feed.searchTracks", "tracks"), ("actor.searchActors", "actors")]
)
async def test_hostile_queries_are_only_words(library: World, method: str, key: str):
    for query in HOSTILE:
        assert isinstance((await library.server.ask(method, {"q": query}))[key], list), ascii(query[:20])


@pytest.mark.parametrize(("query", "found"), [("helo wrld", 1), ("hello", 1), ("xyzzy", 0)])
async def test_with_trigrams_a_misspelled_query_finds_too(
    database: str, catalog: Catalog, query: str, found: int
):
    with psycopg.connect(database, autocommit=True) as admin:
        if not admin.execute("select 1 from pg_available_extensions where name = 'pg_trgm'").fetchone():
            pytest.skip("this Postgres has no pg_trgm")
        admin.execute("create extension pg_trgm")
    seed = Seed(database, catalog)
    seed.track(seed.account("ann", display_name="Hello World"), "Hello, world!")
    seed.commit()
    seed.close()
    async with served(database, catalog) as server:
        assert len((await server.ask("feed.searchTracks", {"q": query}))["tracks"]) == found
        assert len((await server.ask("actor.searchActors", {"q": query}))["actors"]) == found
