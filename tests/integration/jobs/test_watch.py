"""A job is followed from another process than the one that does it, whatever happens to the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from appview.errors import TooManyFollowed, TooManyFollowers
from appview.jobs.watch import MOST_OF_ONE, JobWatch
from lexicons.syntax import Did
from storage import jobs
from storage.jobs import Job, JobState
from storage.postgres import Connection, Pool, make_pool
from tests.integration.jobs.doing import QUEUE, working

ANN = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with make_pool(database, max_size=4, name="test") as pool:
        yield pool


@pytest.fixture
async def watch(database: str, pool: Pool) -> AsyncIterator[JobWatch]:
    made = JobWatch(database, pool)
    yield made
    await made.stop()


async def next_of(following: AsyncGenerator[Job | None]) -> Job:
    """The next thing that is told, without the beats in between."""
    async with asyncio.timeout(60):
        while True:
            job = await anext(following)
            if job is not None:
                return job


async def test_a_job_is_followed_to_its_end(conn: Connection, database: str, watch: JobWatch) -> None:
    id = await QUEUE.enqueue(conn, "steps", args={"s": 0.5})
    assert id is not None
    following = watch.follow(id, ANN)
    told = [await next_of(following)]
    assert told[0].state is JobState.PENDING
    async with working(database), asyncio.timeout(60):
        told += [job async for job in following if job is not None]
    assert told[-1].state is JobState.DONE
    assert [job.state for job in told] == sorted(
        (job.state for job in told), key=["pending", "running", "done"].index
    )
    assert ("second", 0.5) in [(job.phase, job.progress) for job in told]
    assert [job async for job in watch.follow(uuid4(), ANN)] == []


@pytest.mark.once
async def test_what_happened_while_the_connection_was_away_is_told(conn: Connection, watch: JobWatch) -> None:
    id = await QUEUE.enqueue(conn, "note")
    assert id is not None
    following = watch.follow(id, ANN)
    await next_of(following)
    waiting = asyncio.create_task(next_of(following))
    cut = 0
    async with asyncio.timeout(60):
        while not cut:  # it begins to listen a moment later
            done = await conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'plyr-jobs' and datname = current_database()"
            )
            cut = done.rowcount
            await asyncio.sleep(0.02)
    await jobs.report(conn, id, "one", "One.", 0.1)
    assert (await waiting).phase == "one"
    await jobs.finish(conn, id, JobState.DONE, message="Done.")
    assert (await next_of(following)).state is JobState.DONE


async def test_what_nobody_understands_is_logged_and_the_rest_is_told(
    conn: Connection, watch: JobWatch
) -> None:
    id = await QUEUE.enqueue(conn, "note")
    assert id is not None
    following = watch.follow(id, ANN)
    await next_of(following)
    with capture_logs() as logs:
        async with asyncio.timeout(60):
            while not logs:  # it begins to listen a moment later
                await conn.execute("select pg_notify(%s, 'no id of a job')", (jobs.CHANNEL,))
                await asyncio.sleep(0.02)
    assert [(each["event"], each["loop"]) for each in logs] == [("a loop broke, it begins anew", "job watch")]
    await jobs.report(conn, id, "one", "One.", 0.1)
    assert (await next_of(following)).phase == "one"
    await following.aclose()


async def test_a_change_is_read_once_for_all_who_follow(
    conn: Connection, pool: Pool, watch: JobWatch
) -> None:
    id = await QUEUE.enqueue(conn, "note")
    assert id is not None
    following = [watch.follow(id, Did(f"did:plc:{n:024}")) for n in range(50)]
    for each in following:
        await next_of(each)
    for phase in ("one", "two"):  # the first, so that it listens
        before = pool.get_stats()["requests_num"]
        waiting = [asyncio.create_task(next_of(each)) for each in following]
        await jobs.report(conn, id, phase, phase, 0.1)
        assert {(await each).phase for each in waiting} == {phase}
    assert pool.get_stats()["requests_num"] - before <= 2  # should it begin to listen just now
    for each in following:
        await each.aclose()


async def test_nobody_follows_more_than_a_few_and_a_process_has_so_many_places(
    conn: Connection, database: str, pool: Pool
) -> None:
    id = await QUEUE.enqueue(conn, "note")
    assert id is not None
    watch = JobWatch(database, pool, most=MOST_OF_ONE + 1)
    bob, eve = Did("did:plc:bob"), Did("did:plc:eve")
    try:
        following = [watch.follow(id, ANN) for _ in range(MOST_OF_ONE)]
        for each in following:
            await next_of(each)
        with pytest.raises(TooManyFollowed):
            await next_of(watch.follow(id, ANN))
        following.append(watch.follow(id, bob))
        await next_of(following[-1])
        with pytest.raises(TooManyFollowers):
            await next_of(watch.follow(id, eve))
        await following[0].aclose()  # who leaves makes room
        following[0] = watch.follow(id, ANN)
        await next_of(following[0])
        for each in following:
            await each.aclose()
    finally:
        await watch.stop()
