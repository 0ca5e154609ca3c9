"""What is said of the whole, and who is found by a name."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec
import pytest

from appview.app import make_reader
from appview.jobs import house
from appview.jobs.attempt import Attempts
from appview.jobs.tasks import Task
from appview.rest import site_shapes
from appview.service import TotalsCache
from storage import jobs, stats
from storage.postgres import make_pool
from storage.reader import Cell, Question, Reads, Rows, TimedOut
from tests.integration.appview.player.room import Room, detail, places


async def test_what_there_is_is_counted_as_far_as_it_can_be_seen(room: Room) -> None:
    empty = {"total_plays": 0, "total_tracks": 0, "total_artists": 0, "total_duration_seconds": 0}
    assert await room.told("GET", "/stats") == empty
    ann, bob = room.person("ann"), room.person("bob", hidden=True)
    room.track(ann, 'Long "durationS":5', duration=3600)
    room.track(ann, "Short", duration=7)
    room.track(ann, "Unknown")
    room.track(bob, "Hidden", duration=100)
    await room.rows("update track_stat set plays = 4")
    told = await room.told("GET", "/stats")
    msgspec.convert(told, site_shapes.Stats)
    assert told == {
        "total_plays": 12, "total_tracks": 3, "total_artists": 1, "total_duration_seconds": 3607,
    }  # fmt: skip


_LATER = "There is too much to count it while you wait; it is counted in the background."


async def test_where_there_is_much_a_job_counts(room: Room) -> None:
    room.track(room.person("ann"), "One", duration=7)
    async with make_pool(room.dsn, max_size=2, name="test") as pool:
        task = Task(stats.COUNT, house.count_totals(pool))
        async with pool.connection() as conn:
            id = await jobs.add(conn, stats.COUNT, did=None, subject=None, args={})
        assert id is not None
        await Attempts(pool, [task]).make(id)
    room.track(room.person("bob"), "Two", duration=8)
    small = {"total_plays": 0, "total_tracks": 2, "total_artists": 2, "total_duration_seconds": 15}
    assert await room.told("GET", "/stats") == small
    # As Postgres remembers a large table, if nothing looks at it again.
    await room.rows("alter table track set (autovacuum_enabled = false)")
    await room.rows("update pg_class set reltuples = 1e6 where oid = 'track'::regclass")
    counted = {"total_plays": 0, "total_tracks": 1, "total_artists": 1, "total_duration_seconds": 7}
    assert await room.told("GET", "/stats") == counted
    await room.rows("delete from job")
    for path, told in (
        ("/stats", {"detail": _LATER}),
        ("/xrpc/fm.plyr.server.getStats", {"error": "NotCountedYet", "message": _LATER}),
    ):
        answer = await room.ask("GET", path)
        assert (answer.status, answer.headers["Retry-After"], answer.json) == (503, "30", told)
    home = await room.ask("GET", "/")
    assert (home.status, b"cannot be reached" in home.body) == (200, False)


async def test_health_is_whether_the_database_answers(room: Room) -> None:
    assert await room.told("GET", "/health") == {"status": "ok"}
    await room.rows("alter table track rename to lost")
    assert (await room.ask("GET", "/health")).status >= 500


async def test_a_sitemap_has_what_can_be_seen_newest_first(room: Room) -> None:
    assert await room.told("GET", "/sitemap-data") == {"tracks": [], "artists": [], "albums": []}
    ann, bob, nobody = room.person("ann"), room.person("bob", hidden=True), room.person("")
    one, two = (room.track(ann, title, album="My Álbum")[0] for title in ("One", "Two"))
    room.track(bob, "Hidden")
    three, _ = room.track(nobody, "Three", album="Nameless")
    told = await room.told("GET", "/sitemap-data")
    msgspec.convert(told, site_shapes.Sitemap)
    assert [track["id"] for track in told["tracks"]] == [three, two, one]
    assert told["artists"] == [{"handle": "ann.test", "updated": "2026-03-01"}]
    assert told["albums"] == [{"handle": "ann.test", "slug": "my-album", "updated": "2026-03-01"}]


async def test_people_are_found_by_how_they_are_called(room: Room) -> None:
    room.person("anna", avatar="https://img.test/a.png")
    room.person("annika", display_name="Änne Müller")
    room.person("bob", hidden=True, display_name="Anton")
    room.person("carl", display_name=None)
    found = await room.told("GET", "/search/handles", params={"q": "ann"})
    msgspec.convert(found, site_shapes.FoundHandles)
    assert sorted(each["handle"] for each in found["results"]) == ["anna.test", "annika.test"]
    [anna] = (await room.told("GET", "/search/handles", params={"q": "@anna"}))["results"]
    assert anna == {
        "did": room.names["anna"], "handle": "anna.test", "display_name": "Anna",
        "avatar_url": "https://img.test/a.png",
    }  # fmt: skip
    [annika] = (await room.told("GET", "/search/handles", params={"q": "muller"}))["results"]
    assert annika["display_name"] == "Änne Müller"
    assert len((await room.told("GET", "/search/handles", params={"q": "ann", "limit": 1}))["results"]) == 1
    assert await room.told("GET", "/search/handles", params={"q": "%%\0"}) == {"results": []}


@pytest.mark.parametrize("query", ["", "q=a", "q=ann&limit=0", "q=ann&limit=26", "q=ann&limit=x"])
async def test_a_search_that_makes_no_sense_is_refused(room: Room, query: str) -> None:
    assert len(places(await room.ask("GET", f"/search/handles?{query}"))) == 1


@dataclass
class SlowReads:
    """Takes its time with all counts but the first; `down`: too much of it."""

    counts: int = 0
    down: bool = False
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    extensions: frozenset[str] = frozenset()
    reads: Reads | None = None

    async def fetch(self, name: str, *params: Cell) -> Rows:
        assert self.reads is not None
        if name != "stats_totals":
            return await self.reads.fetch(name, *params)
        self.counts += 1
        if self.counts > 1:
            await self.waiting.wait()
        if self.down:
            raise TimedOut
        return await self.reads.fetch(name, *params)

    async def fetch_all(self, *questions: Question) -> list[Rows]:
        return [await self.fetch(name, *params) for name, params in questions]


async def test_counting_keeps_nobody_waiting_but_the_first(room: Room) -> None:
    """And what takes long is not done often; what cannot be done leaves what was known."""
    ann = room.person("ann")
    room.track(ann, "One")
    async with make_reader(room.dsn, connections=1) as reads:
        slow = SlowReads(reads=reads)
        cache = TotalsCache(slow, 0.001)
        assert [each.tracks for each in await asyncio.gather(*(cache.get() for _ in range(20)))] == [1] * 20
        assert slow.counts == 1
        room.track(ann, "Two")
        asked: list[asyncio.Task[stats.Totals]] = []
        while slow.counts == 1:  # until one of them counts; the rest see what is known
            asked.append(asyncio.create_task(cache.get()))
            await asyncio.sleep(0.01)
        assert [(await cache.get()).tracks for _ in range(20)] == [1] * 20
        slow.waiting.set()
        assert sorted(each.tracks for each in await asyncio.gather(*asked)) == [1] * (len(asked) - 1) + [2]
        assert slow.counts == 2
        slow.down = True
        for _ in range(200):
            await asyncio.sleep(0.005)
            assert (await cache.get()).tracks == 2
            if slow.counts > 2:
                break
        assert slow.counts > 2


async def test_where_nothing_was_ever_counted_it_is_said(room: Room) -> None:
    await room.rows("alter table track rename to lost")
    assert detail(await room.ask("GET", "/stats"))[0] >= 500
