"""(m) Plays: rolled up into days, and counted while they come.

The roll-up of 5 M plays runs beside a plain `insert … select` of as many rows into a table like theirs. Plays
are counted by 64 listeners at a time over four connections, of one track and of many, beside the least that a
counter can be: `update … set plays = plays + 1` over as many connections, which remembers nobody and nothing.

Gate: the days hold every play, and each counter is the number of its plays.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable

import psycopg

from appview.play_counter import PlayCounter
from storage import plays
from storage.plays import Listener
from storage.postgres import Pool, make_pool
from tests.bench import database, machine
from tests.bench.measure import Finding, Goal, Sample, Target, contest, interleave, require_equal
from tests.bench.options import Options

GOAL_S = 10.0
AT_ONCE, CONNECTIONS = 64, 4
TRACKS = 20_000
ROLL_UP, ONE, MANY = 1.0, 1.0, 0.3


async def run(options: Options, postgres: database.Server) -> Finding:
    count = options.size(5_000_000, 500_000)
    dsn = await postgres.fresh("plays")
    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn,
        make_pool(dsn, max_size=CONNECTIONS, name="plyr bench") as pool,
    ):
        seed = database.script("plays").replace("{tracks}", str(TRACKS)).replace("{plays}", str(count))
        await conn.execute(seed.encode())
        await conn.execute("vacuum analyze")

        async def rolled() -> Sample:
            await conn.execute("truncate play_day; update play_rollup set upto = 0")
            postgres.checkpoint()
            began = time.perf_counter()
            require_equal("plays rolled up", await plays.roll_up(conn), count)
            return _sample(count, time.perf_counter() - began, 0)

        async def copied() -> Sample:
            await conn.execute("truncate plain")
            postgres.checkpoint()
            began = time.perf_counter()
            await conn.execute("insert into plain overriding system value select * from play")
            return _sample(count, time.perf_counter() - began, 0)

        rollups = await interleave(options.size(3, 1), rolled, copied)
        require_equal("tracks with a wrong count", await plays.miscounted(conn), [])
        await conn.execute("drop table plain")
        postgres.checkpoint()
        dice = random.Random(1)
        counter = PlayCounter(pool)

        async def listened(track: Callable[[], int]) -> Sample:
            async def play() -> None:
                await counter.count(track(), Listener(dice.randbytes(16)))

            return await _many(options.size(20_000, 4_000), play)

        async def bare(track: Callable[[], int]) -> Sample:
            async def play() -> None:
                await _add_one(pool, track())

            return await _many(options.size(10_000, 2_000), play)

        one = await interleave(options.size(3, 1), lambda: listened(lambda: 1), lambda: bare(lambda: 2))
        wide = [
            lambda: listened(lambda: dice.randrange(3, TRACKS // 2)),
            lambda: bare(lambda: dice.randrange(TRACKS // 2, TRACKS)),
        ]
        many = await interleave(options.size(3, 1), *wide)
        touched = [id for id in await plays.miscounted(conn) if id != 2 and id < TRACKS // 2]
        require_equal("tracks with a wrong count", touched, [])
        pending = await plays.roll_up(conn)
        require_equal("plays since", pending, sum(pair.ours.n for pair in (*one, *many)))
    postgres.drop("plays")
    typical = contest("roll-up", "insert … select", rollups)
    return Finding(
        name="plays",
        title=f"{count:,} plays rolled up; {AT_ONCE} listeners at a time counted",
        unit="play",
        contestants=(
            *typical,
            *contest("counted, one track", "bare update", one),
            *contest("counted, many tracks", "bare update", many),
        ),
        targets=(
            Target("insert … select of as many rows", tuple(pair.by_wall for pair in rollups), ROLL_UP),
            Target("a bare update of one counter", tuple(pair.by_wall for pair in one), ONE),
            Target("bare updates of many counters", tuple(pair.by_wall for pair in many), MANY),
        ),
        goals=(Goal("the roll-up", typical[0].typical.wall_s, GOAL_S, "s", at_most=True),),
        gates=("the days hold every play", "each counter is the number of its plays"),
    )


async def _many(count: int, play: Callable[[], Awaitable[None]]) -> Sample:
    """AT_ONCE people, each with one play after the other."""

    async def person() -> None:
        for _ in range(count // AT_ONCE):
            await play()

    cpu, began = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as people:
        for _ in range(AT_ONCE):
            people.create_task(person())
    return _sample(count // AT_ONCE * AT_ONCE, time.perf_counter() - began, time.process_time() - cpu)


async def _add_one(pool: Pool, track: int) -> None:
    async with pool.connection() as conn:
        await conn.execute("update track_stat set plays = plays + 1 where id = %s", (track,))


def _sample(count: int, wall_s: float, cpu_s: float) -> Sample:
    return Sample(count, wall_s, cpu_s, machine.peak_bytes(os.getpid()))
