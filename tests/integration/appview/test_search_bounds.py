"""What common words, tags and hidden accounts cost is bounded by statements, not by how many there are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import psycopg
import pytest

from appview.app import make_reader
from storage import backlinks, feed, finding, keyset, people, rest_feed, sitemap
from storage.feed import text_array
from storage.reader import Reader
from storage.search import words
from storage.spread import MOST_ENTRIES, Spread, Spreads

ROWS = 80_000  # tracks, and accounts
MOST_PAGES = 80_000  # touched by one statement
MOST_TAG_PAGES, MOST_TAG_ROWS = 20_000, 10_000
STATEMENTS = (
    feed.STATEMENTS | finding.STATEMENTS | people.STATEMENTS | rest_feed.STATEMENTS
    | backlinks.STATEMENTS | sitemap.STATEMENTS
)  # fmt: skip
EXPLAINED = (
    "rest_search",
    "feed_search",
    "people_search",
    "finding_albums",
    "rest_tagged",
    "rest_tags",
    "rest_tag",
    "backlinks_counts",
    "sitemap_newest",
    "rest_top_since",
)
# Every title is "Track number …", every account an artist, every tenth track a tenth, and the oldest a zebra.
FILL = """
insert into repo (did, handle)
    select 'did:web:a' || n, 'artist' || n || '.test' from generate_series(1, {0}) n;
insert into profile (repo_id, card, search)
    select id, '"did":"' || did || '"', to_tsvector('simple', 'artist ' || id) from repo;
insert into track_uri (uri) select 'at://x/' || n from generate_series(1, {0}) n;
insert into track_stat (id, tags)
    select id, case id % 2 when 0 then array['rain'] else array['sun', 'tag' || id / 1000] end from track_uri;
insert into track (id, repo_id, rkey, cid, sort_at, indexed_at, title, card, rest, album, album_id, search)
    select id, 1 + id * 7919 % {0}, id, '', timestamptz '2026-01-01' + id * interval '1 s', now(),
           'Track', '""', '""', 'Track', md5(id::text)::uuid,
           to_tsvector('simple', 'track number ' || id || case when id % 10 = 0 then ' tenth' else '' end
                                 || case id when 1 then ' zebra' else '' end)
      from track_uri;
insert into track_tag (tag, sort_at, track_id, repo_id)
    select tag, sort_at, id, repo_id from track join track_stat using (id), unnest(tags) tag;
vacuum analyze
"""  # fmt: skip
# Four hundred like the first track and say something about it; one of them likes it twice.
LIKED = """
insert into "like" (repo_id, track_id, rkey, sort_at)
    select id, 1, id::text, now() from repo where id <= 400 union all select 1, 1, 'again', now();
insert into comment (repo_id, rkey, track_id, timestamp_ms, sort_at, card)
    select id, id, 1, 0, now(), '' from repo where id <= 400;
update track_stat set likes = 360, comments = 360 where id = 1
"""
NEWEST = """
select t.id from track t join profile p using (repo_id) where not p.hidden order by t.id desc limit 1000
"""


@dataclass(frozen=True, slots=True)
class Shelf:
    admin: psycopg.Connection
    reads: Reader
    spread: Spread


@pytest.fixture(scope="module")
def filled(shared_database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shared_database, autocommit=True) as conn:
        for statement in FILL.format(ROWS).split(";\n"):
            conn.execute(statement.encode())
        conn.execute("set plan_cache_mode = force_generic_plan; set jit = off")
        for name in EXPLAINED:
            conn.execute(f"prepare {name} as {STATEMENTS[name]}".encode())
        yield conn


@pytest.fixture
async def shelf(filled: psycopg.Connection, shared_database: str) -> AsyncIterator[Shelf]:
    async with make_reader(shared_database, connections=1) as reads:
        yield Shelf(filled, reads, await Spreads(reads).get())


def execute(name: str, *params: bytes | None) -> str:
    values = ", ".join(
        "null" if each is None else "'{}'".format(each.decode().replace("'", "''")) for each in params
    )
    return f"execute {name} ({values})" if params else f"execute {name}"


def read(conn: psycopg.Connection, name: str, *params: bytes | None) -> tuple[int, int]:
    """How many pages a prepared statement touches, and how many rows the node with the most of them has."""
    asked = f"explain (analyze, buffers, timing off) {execute(name, *params)}"
    text = "\n".join(line for (line,) in conn.execute(asked.encode()).fetchall())
    pages = re.search(r"Buffers: (.*)", text)
    assert pages is not None, text
    rows = [int(rows) * int(loops) for rows, loops in re.findall(r"actual rows=(\d+) loops=(\d+)", text)]
    return sum(map(int, re.findall(r"(?:hit|read)=(\d+)", pages[1]))), max(rows)


@pytest.mark.parametrize(
    "text",
    ["track", "track number", "tr nu", "artist", "track artist", "track 47119", "artist 47119", "tenth track",
     "tenth number artist", "4", "4 7", "zebra", "track zebra", "nobody", "track nobody"],
)  # fmt: skip
async def test_no_word_costs_more_than_so_many_rows(shelf: Shelf, text: str) -> None:
    asked = words(text)
    spread, conn = shelf.spread, shelf.admin
    of = spread.for_tracks(asked)
    terms = (of.whole, of.rare, text_array(of.each), of.newest)
    names, albums = spread.for_names(asked), spread.for_albums(asked)
    like = text_array([f"%{word}%" for word in asked])
    rank, limit = keyset.RANK_ID.start, b"51"
    costs = {
        "rest_search": read(conn, "rest_search", None, *rank, limit, *terms),
        "feed_search": read(conn, "feed_search", None, *rank, limit, *terms),
        "people_search": read(
            conn, "people_search", names.whole, *keyset.RANK_REPO.start, limit, names.rare, names.newest
        ),
        "finding_albums": read(conn, "finding_albums", albums.whole, like, albums.rare, albums.newest),
    }
    assert all(pages <= MOST_PAGES and rows <= MOST_ENTRIES < ROWS for pages, rows in costs.values()), costs


async def titles(shelf: Shelf, text: str, limit: int = 100) -> list[int]:
    """The numbers of the tracks found."""
    page = await feed.XRPC.search(shelf.reads, shelf.spread, None, text, keyset.RANK_ID.start, limit)
    return [int(row[0] or 0) for row in page.rows]


async def test_what_rare_words_lead_to_is_found_beside_common_ones(shelf: Shelf) -> None:
    assert await titles(shelf, "track zebra") == [1]
    assert set(await titles(shelf, "number 47119")) == {47119, await only_track_of(shelf, 47119)}
    assert await titles(shelf, "artist 47119 number") == sorted(
        {47119, await only_track_of(shelf, 47119)}, reverse=True
    )
    assert await titles(shelf, "track nobody") == []


async def only_track_of(shelf: Shelf, account: int) -> int:
    row = shelf.admin.execute("select id from track where repo_id = %s", (account,)).fetchone()
    assert row is not None
    return row[0]


async def test_of_common_words_the_newest_are_found_and_then_it_ends(shelf: Shelf) -> None:
    place, seen = keyset.RANK_ID.start, list[int]()
    for _ in range(20):
        page = await feed.XRPC.search(shelf.reads, shelf.spread, None, "number track", place, 100)
        seen += [int(row[0] or 0) for row in page.rows]
        if page.next is None:
            break
        place = page.next
    assert sorted(seen) == list(range(ROWS - 999, ROWS + 1))


async def test_a_tag_costs_no_more_than_so_many_rows(shelf: Shelf) -> None:
    costs = {
        (name, tag): read(shelf.admin, name, *params)
        for tag in (b"rain", b"tag47", b"none")
        for name, params in {
            "rest_tagged": (None, *keyset.TIME_ID.start, b"101", b"{%b}" % tag, None),
            "rest_tags": (tag, b"20"),
            "rest_tag": (tag,),
        }.items()
    }
    costs["rest_tags", b""] = read(shelf.admin, "rest_tags", None, b"20")
    assert max(pages for pages, _ in costs.values()) <= MOST_TAG_PAGES, costs
    assert all(rows <= MOST_TAG_ROWS for _, rows in costs.values()), costs


async def test_tracks_with_a_tag_come_by_time_whether_many_or_few_have_it(shelf: Shelf) -> None:
    for tag, expected in {
        "rain": range(ROWS, 0, -2), "tag47": range(47_999, 47_000, -2), "none": range(0)
    }.items():  # fmt: skip
        place, seen = keyset.TIME_ID.start, list[int]()
        for _ in range(3):
            page = await rest_feed.tagged(shelf.reads, None, [tag], None, place, 100)
            seen += map(int, re.findall(rb'"id":(\d+),', page.text))
            place = page.next or place
        assert seen == list(expected)[:300]
    assert await rest_feed.tag_count(shelf.reads, "rain") == 10_000
    assert await rest_feed.tag_count(shelf.reads, "tag47") == 500


async def test_what_is_out_of_sight_has_no_tag(shelf: Shelf) -> None:
    hide = "update profile set hidden = %s where repo_id = (select repo_id from track where id = 47999)"
    shelf.admin.execute(hide, (True,))
    try:
        page = await rest_feed.tagged(shelf.reads, None, ["tag47"], None, keyset.TIME_ID.start, 1)
        assert (re.findall(rb'"id":(\d+),', page.text), await rest_feed.tag_count(shelf.reads, "tag47")) == (
            [b"47997"], 499,
        )  # fmt: skip
    finally:
        shelf.admin.execute(hide, (False,))


def test_many_out_of_sight_cost_no_more_while_the_planner_knows_of_none(filled: psycopg.Connection) -> None:
    asked: dict[str, tuple[bytes | None, ...]] = {
        "rest_tags": (b"tag", b"3"),
        "rest_tag": (b"tag47",),
        "backlinks_counts": (b"at://x/1", None, b"true"),
        "sitemap_newest": (b"1000",),
    }
    with filled.transaction(force_rollback=True):
        filled.execute("update profile set hidden = true where repo_id % 10 = 0")
        filled.execute(LIKED)
        costs = {name: read(filled, name, *params) for name, params in asked.items()}
        told = {
            name: filled.execute(execute(name, *params).encode()).fetchall() for name, params in asked.items()
        }
        newest = filled.execute(NEWEST).fetchall()
    assert all(rows <= 5_000 for _, rows in costs.values()), costs
    assert told["rest_tags"] == [("tag78", 400, 0), ("tag79", 400, 0)]
    assert told["rest_tag"] == [(400,)]
    assert told["backlinks_counts"] == [("like", 361, 360), ("comment", 360, 360), ("list", 0, 0)]
    assert [(id,) for id, *_ in told["sitemap_newest"]] == newest


def test_who_was_played_most_is_found_without_a_look_at_everybody_else(filled: psycopg.Connection) -> None:
    with filled.transaction(force_rollback=True):
        filled.execute("insert into play_day select id, current_date, id % 1000 from track where id % 4 = 0")
        filled.execute("analyze play_day")
        filled.execute(
            "update profile set hidden = true where repo_id = (select repo_id from track where id = 996)"
        )
        filled.execute("update track set unlisted = true where id = 1996")
        filled.execute("prepare days as select track_id, sum(plays) from play_day group by 1")
        (pages, _), (summed, _) = read(filled, "rest_top_since", b"2026-01-01", b"100"), read(filled, "days")
        found = filled.execute("execute rest_top_since ('2026-01-01', 100)").fetchall()
    played = sorted((id % 1000, id) for id in range(4, ROWS + 1, 4) if id not in (996, 1996))
    assert [id for (id,) in found] == [id for _, id in played[:-101:-1]]
    assert pages <= summed + 1000, (pages, summed)
