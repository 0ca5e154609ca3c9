"""Of several schedulers one leads; what it puts into the queue comes once, whoever leads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from appview.jobs.schedule import Scheduler, due_at
from appview.jobs.tasks import Schedule, UnknownTask
from storage import jobs
from storage.jobs import JobState
from storage.postgres import Connection
from tests.integration.jobs.doing import QUEUE

HOURLY = [Schedule("note", timedelta(hours=1))]
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NAME = "plyr scheduler"


@asynccontextmanager
async def scheduling(scheduler: Scheduler) -> AsyncIterator[None]:
    running = asyncio.create_task(scheduler.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until_one_leads(*schedulers: Scheduler) -> Scheduler:
    """One that has just lost the lead may not know that yet; it cannot do anything with it."""
    async with asyncio.timeout(60):
        while True:
            leaders = [each for each in schedulers if each.leads]
            if len(leaders) == 1:
                return leaders[0]
            await asyncio.sleep(0.02)


async def until_made(conn: Connection, count: int) -> None:
    async with asyncio.timeout(60):
        while len(await jobs.listed(conn, limit=99)) < count:
            await asyncio.sleep(0.02)


async def finish_all(conn: Connection) -> None:
    for job in await jobs.listed(conn, state=JobState.PENDING, limit=99):
        await jobs.finish(conn, job.id, JobState.DONE, message="done")


def test_a_kind_is_due_a_while_after_its_last_job() -> None:
    hour = timedelta(hours=1)
    assert due_at(None, hour, NOW) == NOW
    assert due_at(NOW - timedelta(minutes=20), hour, NOW) == NOW + timedelta(minutes=40)
    assert due_at(NOW - timedelta(hours=9), hour, NOW) == NOW


@pytest.mark.once
async def test_another_one_leads_when_the_leader_loses_its_connection(
    conn: Connection, database: str
) -> None:
    one, two = Scheduler(database, QUEUE, HOURLY), Scheduler(database, QUEUE, HOURLY)
    async with scheduling(one), scheduling(two):
        leader = await until_one_leads(one, two)
        await until_made(conn, 1)
        await finish_all(conn)
        other = two if leader is one else one
        async with asyncio.timeout(60):
            while other.leads is None:
                await asyncio.sleep(0.02)
        cut = await conn.execute(
            "select pg_terminate_backend(pid) from pg_locks join pg_stat_activity using (pid)"
            " where locktype = 'advisory' and application_name = %s and datname = current_database()",
            (NAME,),
        )
        assert cut.rowcount == 1
        async with asyncio.timeout(60):
            while leader.leads:
                await asyncio.sleep(0.02)
        await until_one_leads(one, two)
        await asyncio.sleep(1)
    # The new leader knows that this hour's job was made.
    assert len(await jobs.listed(conn, limit=99)) == 1


async def test_what_came_due_while_nobody_was_there_is_done_once(conn: Connection, database: str) -> None:
    await QUEUE.enqueue(conn, "note", subject="note")
    await finish_all(conn)
    await conn.execute("update job set created_at = now() - interval '9 hours'")
    scheduler = Scheduler(database, QUEUE, HOURLY)
    async with scheduling(scheduler):
        await until_made(conn, 2)
        await finish_all(conn)
        await asyncio.sleep(1)
    assert len(await jobs.listed(conn, limit=99)) == 2


async def test_a_job_that_is_still_on_is_not_begun_once_more(conn: Connection, database: str) -> None:
    scheduler = Scheduler(database, QUEUE, [Schedule("note", timedelta(seconds=1))])
    async with scheduling(scheduler):
        await until_made(conn, 1)
        await asyncio.sleep(1.5)
        assert len(await jobs.listed(conn, limit=99)) == 1
        await finish_all(conn)
        await until_made(conn, 2)


async def test_the_leader_sees_that_a_job_was_left_behind(conn: Connection, database: str) -> None:
    id = await QUEUE.enqueue(conn, "steps")
    assert id is not None
    await jobs.begin(conn, id)
    await conn.execute("update procrastinate.procrastinate_jobs set status = 'doing'")
    async with scheduling(Scheduler(database, QUEUE, [])), asyncio.timeout(60):
        while True:
            job = await jobs.get(conn, id)
            if job is not None and job.state is JobState.PENDING:
                break
            await asyncio.sleep(0.02)


async def test_old_jobs_are_forgotten_but_for_the_newest_of_each_kind(conn: Connection) -> None:
    for kind in ("note", "note", "steps"):
        await QUEUE.enqueue(conn, kind, did="did:plc:a")
        await finish_all(conn)
    await conn.execute(
        "update job set finished_at = now() - interval '31 days',"
        " created_at = created_at - interval '31 days'"
    )
    waiting = await QUEUE.enqueue(conn, "away")
    assert await jobs.forget_old(conn, days=32, house_days=1) == 0
    assert await jobs.forget_old(conn, days=30, house_days=1) == 1
    left = await jobs.listed(conn, limit=99)
    assert sorted(job.kind for job in left) == ["away", "note", "steps"]
    assert waiting in [job.id for job in left]
    await conn.execute("update job set did = null")
    assert [job.kind for job in await jobs.listed(conn, house=False, limit=99)] == ["away"]
    with pytest.raises(psycopg.errors.CheckViolation):
        await conn.execute("update job set state = 'lost'")


async def test_a_schedule_for_a_kind_that_nobody_does_is_a_reason_not_to_start(conn: Connection) -> None:
    await QUEUE.check(conn, HOURLY)
    with pytest.raises(UnknownTask, match=r"cannot do: nothing$"):
        await QUEUE.check(conn, [*HOURLY, Schedule("nothing", timedelta(days=1))])
