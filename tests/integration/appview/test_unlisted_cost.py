"""Leaving out what is unlisted costs a listing nothing: it reads the same rows and pages as without."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from storage import albums, feed, finding, keyset, rest_feed, sitemap
from tests.integration.appview.test_search_bounds import FILL, read

ROWS = 5_000
STATEMENTS = (
    feed.STATEMENTS | rest_feed.STATEMENTS | finding.STATEMENTS | sitemap.STATEMENTS | albums.STATEMENTS
)
LEFT_OUT = re.compile(
    r" and not (?:\w\.)?unlisted| where not t\.unlisted"
    r"| filter \(where not t\.unlisted\)|and \(not t\.unlisted\n[^\n]*is not null\)"
)
TIME, RANK, LIMIT = keyset.TIME_ID.start, keyset.RANK_ID.start, b"51"
ZEBRA, TRACK = b"'zebra':*", b"'track':*"
ASKED: dict[str, tuple[bytes | None, ...]] = {
    "feed_latest": (None, *TIME, LIMIT),
    "rest_latest": (None, *TIME, LIMIT),
    "feed_top": (None, *keyset.COUNT_ID.start, LIMIT),
    "rest_top": (None, *keyset.COUNT_ID.start, LIMIT),
    "feed_search": (None, *RANK, LIMIT, ZEBRA, ZEBRA, b"{}", b"false"),
    "rest_search": (None, *RANK, LIMIT, TRACK, None, b"{}", b"true"),
    "rest_by_ids": (None, b"{1,2,3}"),
    "finding_albums": (TRACK, b"{%track%}", None, b"true"),
    "sitemap_newest": (b"1000",),
    "albums_page": (b"", b"0", b"00000000-0000-0000-0000-000000000000", b"0", LIMIT),
}


@pytest.fixture(scope="module")
def filled(shared_database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shared_database, autocommit=True) as conn:
        for statement in FILL.format(ROWS).split(";\n"):
            conn.execute(statement.encode())
        conn.execute("update track_stat set plays = id % 97")
        conn.execute("""update track set card = '"n":1'""")
        conn.execute("vacuum analyze")
        conn.execute("set plan_cache_mode = force_generic_plan; set jit = off")
        yield conn


@pytest.mark.parametrize("name", ASKED)
def test_it_costs_what_it_cost_without(filled: psycopg.Connection, name: str) -> None:
    bare = LEFT_OUT.sub("", STATEMENTS[name])
    assert bare != STATEMENTS[name]
    filled.execute(f"prepare {name} as {STATEMENTS[name]}".encode())
    filled.execute(f"prepare bare_{name} as {bare}".encode())
    read(filled, name, *ASKED[name])  # what is read for the first time is read from the catalog, too
    read(filled, f"bare_{name}", *ASKED[name])
    costs, before = (read(filled, each, *ASKED[name]) for each in (name, f"bare_{name}"))
    assert costs == before
