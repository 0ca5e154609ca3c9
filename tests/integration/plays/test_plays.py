"""Plays are counted exactly: one for each listener in the length of the track, whatever dies in between."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from appview.play_counter import PlayCounter
from indexer.replay import rebuild_projections
from lexicons.catalog import Catalog
from storage import plays
from storage.plays import Listener
from storage.postgres import Connection, Pool, make_pool
from tests.integration.appview.seed import Seed

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with make_pool(database, max_size=4, name="plyr test") as opened:
        yield opened


def somebody(number: int) -> Listener:
    return Listener(number.to_bytes(16, "big"))


def a_track(seed: Seed, **fields: Any) -> int:
    uri = seed.track(seed.account(f"a{len(seed.dids)}"), "one", at=None, **fields)
    seed.commit()
    return seed.stat(uri)


async def counter(conn: Connection, track: int) -> int:
    row = await (await conn.execute("select plays from track_stat where id = %s", (track,))).fetchone()
    assert row is not None
    return row[0]


async def events(conn: Connection) -> int:
    row = await (await conn.execute("select count(*) from play")).fetchone()
    assert row is not None
    return row[0]


async def play(conn: Connection, track: int, listener: Listener, after_s: float = 0) -> bool | None:
    """Whether it counted; None where nothing is there."""
    at = NOW + timedelta(seconds=after_s)
    counted = await plays.record(conn, track, [listener], at=at)
    return None if counted is None else listener.digest in counted.listeners


async def test_two_hundred_at_once_by_two_hundred_listeners_are_two_hundred(
    pool: Pool, conn: Connection, seed: Seed
) -> None:
    track = a_track(seed)
    count = PlayCounter(pool)
    found = await asyncio.gather(*(count.count(track, somebody(n)) for n in range(200)))
    assert max(one.plays for one in found if one is not None) == 200
    assert await counter(conn, track) == await events(conn) == 200


async def test_two_hundred_at_once_by_one_listener_are_one(pool: Pool, conn: Connection, seed: Seed) -> None:
    track = a_track(seed)
    count = PlayCounter(pool)
    await asyncio.gather(*(count.count(track, somebody(1)) for _ in range(200)))
    assert await counter(conn, track) == await events(conn) == 1


async def test_from_one_address_so_many_count_whoever_counts_them(
    pool: Pool, conn: Connection, seed: Seed
) -> None:
    track, other = a_track(seed), a_track(seed)
    counters = [PlayCounter(pool, per_address=7) for _ in range(4)]
    async with asyncio.TaskGroup() as tasks:
        for n in range(100):
            crowd = Listener(n.to_bytes(16, "big"), address=b"crowd")
            for count in counters:
                tasks.create_task(count.count(track, crowd))
            tasks.create_task(counters[0].count(other, Listener(crowd.digest, address=b"of %d" % n)))
            tasks.create_task(counters[0].count(other, Listener(bytes([n]))))
    assert (await counter(conn, track), await counter(conn, other)) == (7, 200)
    assert await plays.miscounted(conn) == []


async def test_an_address_without_a_limit_has_none(pool: Pool, conn: Connection, seed: Seed) -> None:
    track = a_track(seed)
    count = PlayCounter(pool)
    await asyncio.gather(
        *(count.count(track, Listener(n.to_bytes(16, "big"), address=b"crowd")) for n in range(50))
    )
    assert await counter(conn, track) == 50


@pytest.mark.parametrize("most", [1, 3, 7, 10, 11, 60])
async def test_an_address_has_so_many_plays_at_once_and_again_in_each_length(
    conn: Connection, seed: Seed, most: int
) -> None:
    track = a_track(seed, duration=31)

    async def counted(listeners: Iterable[int], after_s: float) -> int:
        at, there = NOW + timedelta(seconds=after_s), 0
        for n in listeners:
            crowd = Listener(n.to_bytes(16, "big"), address=b"crowd")
            found = await plays.record(conn, track, [crowd], per_address=most, at=at)
            assert found is not None
            there += len(found.listeners)
        return there

    fresh = itertools.count(1000)
    assert await counted([*range(most), *range(most)], 0) == most  # a second play takes nobody's place
    full = next(fresh)
    assert await counted([full], 0.49 * 31 / most) == 0
    assert await counted([next(fresh), next(fresh)], 31 / most) == 1
    assert await counted([full], 30.9) == 0  # as if it had counted
    assert await counted(range(most), 62) == most  # all who were first, every time
    assert await counted(range(most), 93) == most
    assert await play(conn, track, somebody(5000), 93)  # from nowhere in particular


async def test_processes_that_know_nothing_of_each_other_count_exactly(
    database: str, pool: Pool, conn: Connection, seed: Seed
) -> None:
    track, other = a_track(seed), a_track(seed)
    counters = [PlayCounter(pool) for _ in range(4)]
    async with asyncio.TaskGroup() as tasks:
        for n in range(200):
            for count in counters:
                tasks.create_task(count.count(track, somebody(n % 50)))
                tasks.create_task(count.count(other, somebody(n)))
    assert (await counter(conn, track), await counter(conn, other)) == (50, 200)
    assert await plays.miscounted(conn) == []


@pytest.mark.parametrize(
    ("duration_s", "window_s"), [(180, 180), (29, 30), (0, 30), (3600, 3600), (7200, 3600), (None, 300)]
)
async def test_the_next_play_counts_once_the_track_could_be_over(
    conn: Connection, seed: Seed, duration_s: int | None, window_s: int
) -> None:
    track = a_track(seed, **({} if duration_s is None else {"duration": duration_s}))
    one = somebody(1)
    assert await play(conn, track, one)
    assert not await play(conn, track, one, 10)
    assert not await play(conn, track, one, window_s - 0.000_001)
    assert await play(conn, track, one, window_s)
    assert not await play(conn, track, one, 2 * window_s - 0.1)  # counted from the last that did
    assert not await play(conn, track, one, -5)  # a clock that went back
    assert await play(conn, track, somebody(2), 1)
    assert await counter(conn, track) == 3


async def test_what_we_measured_ourselves_counts_more_than_what_the_record_says(
    conn: Connection, seed: Seed
) -> None:
    track = a_track(seed, duration=3600)
    did = next(iter(seed.dids.values()))
    seed.conn.execute(
        """
        with b as (
            insert into blob (area, sha256, bytes, crc32, mime, state)
            values ('audio', sha256('x'), 1, 1, 'audio/mpeg', 'published') returning id
        ), s as (
            insert into sound (blob_id, format, codec, rate, channels, duration_s, playable)
            select id, 'mp3', 'mp3', 44100, 2, 60.5, true from b
        )
        insert into track_media (did, rkey, stream_id) select %s, (select rkey from track), id from b
        """,
        (did,),
    )
    seed.commit()
    assert await play(conn, track, somebody(1))
    assert not await play(conn, track, somebody(1), 60.4)
    assert await play(conn, track, somebody(1), 60.5)


async def test_what_cannot_be_seen_counts_nothing(conn: Connection, seed: Seed) -> None:
    track = a_track(seed)
    seed.conn.execute("update profile set hidden = true")
    seed.commit()
    assert await play(conn, track, somebody(1)) is None
    assert await play(conn, track + 1000, somebody(1)) is None
    assert (await counter(conn, track), await events(conn)) == (0, 0)
    seed.conn.execute("update profile set hidden = false")
    seed.commit()
    assert await play(conn, track, somebody(1))  # it left no claim


async def test_who_comes_back_with_a_cookie_is_no_second_listener(conn: Connection, seed: Seed) -> None:
    track = a_track(seed, duration=100)
    address, cookie = b"a" * 16, b"c" * 16
    assert await play(conn, track, Listener(address, alias=cookie))
    assert not await play(conn, track, Listener(cookie), 99)
    assert await play(conn, track, Listener(cookie), 100)


@pytest.mark.once
async def test_a_connection_that_dies_before_the_commit_counts_nothing(
    database: str, conn: Connection, seed: Seed
) -> None:
    track = a_track(seed)
    dying = await psycopg.AsyncConnection.connect(database)
    await plays.record(dying, track, [somebody(1)])
    await conn.execute("select pg_terminate_backend(%s)", (dying.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        await dying.commit()
    await dying.close()
    assert (await counter(conn, track), await events(conn)) == (0, 0)
    assert await play(conn, track, somebody(1))


async def test_a_waiting_play_is_written_where_the_one_before_it_is_cancelled(
    database: str, pool: Pool, conn: Connection, seed: Seed
) -> None:
    track = a_track(seed)
    count = PlayCounter(pool)
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute("select from track_stat where id = %s for update", (track,))
        first = asyncio.create_task(count.count(track, somebody(1)))
        while not await _waits_for_a_lock(conn):
            await asyncio.sleep(0.01)
        others = [asyncio.create_task(count.count(track, somebody(n))) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await holder.rollback()
        found = await asyncio.gather(*others)
    assert {one.plays for one in found if one is not None} == {3}
    assert await counter(conn, track) == 3


async def _waits_for_a_lock(conn: Connection) -> bool:
    row = await (
        await conn.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and application_name = 'plyr test' and wait_event_type = 'Lock'"
        )
    ).fetchone()
    assert row is not None
    return row[0] > 0


async def test_a_rebuild_keeps_what_was_played(conn: Connection, seed: Seed) -> None:
    track = a_track(seed)
    await play(conn, track, somebody(1))
    await plays.roll_up(conn)
    await play(conn, track, somebody(2))
    await rebuild_projections(conn, Catalog.load(), mend=True)
    assert await counter(conn, track) == 2
    assert await plays.miscounted(conn) == []


async def test_rolling_up_again_adds_nothing(conn: Connection, seed: Seed) -> None:
    track = a_track(seed, duration=30)
    for day in range(3):
        for n in range(day + 1):
            await play(conn, track, somebody(n), 86_400 * day)
    assert await plays.roll_up(conn) == 6
    assert await plays.roll_up(conn) == 0
    await play(conn, track, somebody(9), 86_400)
    assert await plays.roll_up(conn) == 1
    found = await (await conn.execute("select day::text, plays from play_day order by day")).fetchall()
    assert found == [("2026-11-28", 1), ("2026-11-29", 3), ("2026-11-30", 3)]
    assert await plays.miscounted(conn) == []


async def test_a_play_that_commits_late_is_not_forgotten(database: str, conn: Connection, seed: Seed) -> None:
    track = a_track(seed)
    async with await psycopg.AsyncConnection.connect(database) as late:
        await plays.record(late, track, [somebody(1)])  # has its number, and is not committed
        rolling = asyncio.create_task(plays.roll_up(conn))
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as watch:
            while not await _is_locked(watch):
                await asyncio.sleep(0.01)
        assert not rolling.done()
        await late.commit()
    assert await rolling == 1


async def _is_locked(conn: Connection) -> bool:
    row = await (
        await conn.execute("select count(*) from pg_locks where not granted and locktype = 'advisory'")
    ).fetchone()
    assert row is not None
    return row[0] > 0


async def test_two_that_roll_up_at_once_count_nothing_twice(
    database: str, conn: Connection, seed: Seed
) -> None:
    track = a_track(seed)
    for n in range(20):
        await play(conn, track, somebody(n))
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as second:
        found = await asyncio.gather(plays.roll_up(conn), plays.roll_up(second))
    assert sorted(found) == [0, 20]
    assert await plays.miscounted(conn) == []


async def test_claims_that_are_over_and_what_was_of_tracks_that_are_gone_are_tidied_away(
    conn: Connection, seed: Seed
) -> None:
    track, gone = a_track(seed), a_track(seed)
    now = datetime.now(UTC)
    for n, at in ((1, now - timedelta(hours=2)), (2, now)):
        await plays.record(conn, track, [somebody(n)], at=at)
        await plays.record(conn, gone, [somebody(n)], at=at)
    await plays.roll_up(conn)
    old = await plays.salt(conn, now.date() - timedelta(days=2))
    assert await plays.salt(conn, now.date() - timedelta(days=2)) == old
    young = await plays.salt(conn, now.date())
    await conn.execute("delete from track_stat where id = %s", (gone,))
    await plays.tidy(conn)
    claims = await (await conn.execute("select listener from play_claim")).fetchall()
    assert {bytes(one[0]) for one in claims} == {somebody(2).digest}
    assert await plays.salt(conn, now.date()) == young
    assert await plays.salt(conn, now.date() - timedelta(days=2)) != old
    left = await (
        await conn.execute("select track_id from play_day union select track_id from play")
    ).fetchall()
    assert left == [(track,)]


async def test_plays_of_a_deleted_account_stay_and_are_nobodys(conn: Connection, seed: Seed) -> None:
    track = a_track(seed, duration=30)
    for day in range(2):
        await play(conn, track, somebody(1), day * 86_400)
    await play(conn, track, somebody(2))
    await plays.unlink(conn, [somebody(1).digest, somebody(7).digest])
    found = [bytes(one[0]) for one in await (await conn.execute("select listener from play")).fetchall()]
    assert len(set(found)) == len(found) == 3
    assert somebody(1).digest not in found
    assert somebody(2).digest in found
    claims = await (await conn.execute("select listener from play_claim")).fetchall()
    assert [bytes(one[0]) for one in claims] == [somebody(2).digest]
    assert await plays.miscounted(conn) == []
