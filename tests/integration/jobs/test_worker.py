"""Jobs, from the caller's transaction to their end, done by real processes that are stopped and killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from appview.jobs.attempt import Attempts
from appview.jobs.tasks import Done, Task, UnknownTask, Work
from storage import jobs, queue
from storage.jobs import Job, JobState
from storage.postgres import Connection, make_pool
from tests.integration.jobs.doing import QUEUE, connect, ended, seen, until_seen, working


async def tickets(conn: Connection) -> int:
    row = await (await conn.execute("select count(*) from procrastinate.procrastinate_jobs")).fetchone()
    assert row
    return row[0]


async def test_a_job_exists_when_its_transaction_commits_and_not_otherwise(conn: Connection) -> None:
    async with conn.transaction(force_rollback=True):
        id = await QUEUE.enqueue(conn, "note", did="did:plc:a", args={"x": 1})
        assert id is not None
        assert await tickets(conn) == 1
    assert await jobs.get(conn, id) is None
    assert await tickets(conn) == 0
    async with conn.transaction():
        id = await QUEUE.enqueue(conn, "note", did="did:plc:a", args={"x": 1})
    assert id is not None
    job = await jobs.get(conn, id)
    assert job is not None
    assert (job.state, job.kind, job.did, job.args) == (JobState.PENDING, "note", "did:plc:a", {"x": 1})


async def test_a_kind_that_no_task_has_is_refused_at_once(conn: Connection) -> None:
    with pytest.raises(UnknownTask):
        await QUEUE.enqueue(conn, "nothing")
    assert await jobs.unfinished(conn) == {}


async def test_there_is_one_unfinished_job_about_a_subject(conn: Connection) -> None:
    assert await QUEUE.enqueue(conn, "note", subject="song") is not None
    assert await QUEUE.enqueue(conn, "note", subject="song") is None
    assert await QUEUE.enqueue(conn, "steps", subject="song") is not None
    assert await tickets(conn) == 2


async def test_two_workers_do_each_of_fifty_jobs_once(conn: Connection, database: str) -> None:
    ids = [await QUEUE.enqueue(conn, "note") for _ in range(25)]
    async with working(database), working(database):
        ids += [await QUEUE.enqueue(conn, "note") for _ in range(25)]
        done = [await ended(conn, id) for id in ids]
    assert {job.state for job in done} == {JobState.DONE}
    assert {job.result["attempts"] for job in done if job.result} == {1}
    rows = await (await conn.execute("select job from seen")).fetchall()
    assert Counter(row[0] for row in rows) == dict.fromkeys(ids, 1)
    assert await tickets(conn) == 0


async def test_a_job_is_done_though_what_it_reports_cannot_be_written(
    conn: Connection, database: str
) -> None:
    async def run(work: Work) -> Done:
        await work.report("one", "no text of a database: \0", 0.5)
        async with asyncio.timeout(60):
            while not logs:
                await asyncio.sleep(0.01)
        return Done("Done.")

    id = await QUEUE.enqueue(conn, "note")
    assert id is not None
    async with make_pool(database, max_size=2, name="test") as pool:
        with capture_logs() as logs:
            await Attempts(pool, [Task("note", run)]).make(id)
    assert [each["loop"] for each in logs] == ["progress of a job"]
    assert (await ended(conn, id)).state is JobState.DONE


@pytest.mark.once
async def test_a_job_whose_worker_is_killed_goes_on_with_what_was_saved(
    conn: Connection, database: str
) -> None:
    id = await QUEUE.enqueue(conn, "steps", args={"s": 60})
    async with working(database) as first:
        await until_seen(conn, id, ["first", "second"])
        first.kill()
        await first.wait()
        assert id is not None
        job = await jobs.get(conn, id)
        assert job is not None
        assert job.state is JobState.RUNNING
    async with working(database):
        job = await ended(conn, id)
    assert await seen(conn, id) == ["first", "second", "second"]
    assert (job.state, job.attempts, job.facts, job.warnings) == (JobState.DONE, 2, {"first": 1}, ["slow"])


@pytest.mark.once
async def test_a_job_that_kills_its_worker_every_time_fails_in_the_end(
    conn: Connection, database: str
) -> None:
    id = await QUEUE.enqueue(conn, "steps")
    await conn.execute("update job set attempts = 3, state = 'running'")  # as three that were killed left it
    async with working(database):
        job = await ended(conn, id)
    assert job.state is JobState.FAILED
    assert await seen(conn, id) == ["undo"]


async def test_tickets_of_the_dead_that_somebody_has_in_hand_are_not_waited_for(
    conn: Connection, database: str
) -> None:
    """Many workers died at once, and procrastinate looks after what they held in an order of its own: who
    waited for it while holding some would be waited for in turn."""
    held, free = [await QUEUE.enqueue(conn, "note", subject=name) for name in ("held", "free")]
    await conn.execute("update procrastinate.procrastinate_jobs set status = 'doing'")
    async with await connect(database) as other:
        async with other.transaction(), asyncio.timeout(10):
            statement = "select from procrastinate.procrastinate_jobs where lock = %s for update"
            await other.execute(statement, (str(held),))
            assert await queue.revive(conn, ["note"], stalled_s=1) == [free]
        assert await queue.revive(conn, ["note"], stalled_s=1) == [held]


async def test_a_worker_that_stops_gives_its_jobs_back_at_once(conn: Connection, database: str) -> None:
    id = await QUEUE.enqueue(conn, "forever")
    assert id is not None
    async with working(database) as worker:
        await until_seen(conn, id, ["begun"])
        worker.terminate()
        async with asyncio.timeout(60):
            assert await worker.wait() == 0
        job = await jobs.get(conn, id)
        assert job is not None
        assert (job.state, job.tries) == (JobState.PENDING, 0)
    async with working(database):
        await until_seen(conn, id, ["begun", "begun"])


async def test_after_the_last_attempt_it_is_undone_and_failed(conn: Connection, database: str) -> None:
    id = await QUEUE.enqueue(conn, "away")
    async with working(database):
        job = await ended(conn, id)
    assert (job.state, job.error, job.attempts) == (JobState.FAILED, "They are away.", 3)
    assert await seen(conn, id) == ["tried", "tried", "tried", "undo"]


async def test_what_cannot_be_done_is_undone_until_that_works(conn: Connection, database: str) -> None:
    id = await QUEUE.enqueue(conn, "broken", args={"undo_fails": 2})
    async with working(database):
        job = await ended(conn, id)
    assert (job.state, job.error) == (JobState.FAILED, "It is no sound.")
    assert await seen(conn, id) == ["tried", "undo", "undo", "undo"]


async def test_whoever_undoes_a_job_does_not_believe_what_was_rolled_back(
    conn: Connection, database: str
) -> None:
    id = await QUEUE.enqueue(conn, "torn")
    async with working(database):
        job = await ended(conn, id)
    assert (job.state, job.facts) == (JobState.FAILED, {})
    assert await seen(conn, id) == ["saved", "undo {}"]


async def test_a_running_job_that_is_cancelled_stops_and_is_undone(conn: Connection, database: str) -> None:
    id = await QUEUE.enqueue(conn, "forever")
    assert id is not None
    async with working(database):
        await until_seen(conn, id, ["begun"])
        assert await QUEUE.cancel(conn, id)
        job = await ended(conn, id)
    assert job.state is JobState.CANCELLED
    assert await seen(conn, id) == ["begun", "undo"]
    assert not await QUEUE.cancel(conn, id)


async def test_a_waiting_job_that_is_cancelled_is_not_begun_but_undone(
    conn: Connection, database: str
) -> None:
    id = await QUEUE.enqueue(conn, "steps", delay_s=600)
    assert id is not None
    assert await QUEUE.cancel(conn, id)
    async with working(database):
        job = await ended(conn, id)
    assert job.state is JobState.CANCELLED
    assert await seen(conn, id) == ["undo"]
    assert not await QUEUE.cancel(conn, uuid4())


async def test_a_job_that_failed_is_done_again_from_its_beginning(conn: Connection, database: str) -> None:
    id = await QUEUE.enqueue(conn, "steps")
    assert id is not None
    await jobs.finish(conn, id, JobState.FAILED, message="no", error="no")
    await conn.execute("""update job set facts = '{"first": 1}'""")
    assert await QUEUE.retry(conn, id)
    async with working(database):
        job = await ended(conn, id)
    assert (job.state, job.error, job.attempts) == (JobState.DONE, None, 1)
    assert await seen(conn, id) == ["first", "second"]
    assert not await QUEUE.retry(conn, id)


async def test_a_job_without_a_ticket_gets_one(conn: Connection, database: str) -> None:
    id = await QUEUE.enqueue(conn, "note")
    await conn.execute("delete from procrastinate.procrastinate_jobs")
    async with working(database):
        assert (await ended(conn, id)).state is JobState.DONE


async def test_who_was_taken_for_dead_and_is_not_does_not_meddle(conn: Connection, database: str) -> None:
    id = await QUEUE.enqueue(conn, "steps", args={"s": 0.1, "s2": 2})
    async with working(database) as first:
        await until_seen(conn, id, ["first", "second"])
        os.kill(first.pid, signal.SIGSTOP)
        async with working(database):
            await until_seen(conn, id, ["first", "second", "second"])
            os.kill(first.pid, signal.SIGCONT)  # its attempt ends now, long before the other one
            job = await ended(conn, id)
    assert (job.state, job.attempts, job.result) == (JobState.DONE, 2, {"attempt": 2})
    assert await seen(conn, id) == ["first", "second", "second"]


async def test_no_attempt_has_the_number_of_one_before_it(conn: Connection) -> None:
    """Not of one that did not count, nor of one before a person had it done again."""
    id = await jobs.add(conn, "steps", did=None, subject=None, args={})
    assert id is not None

    async def begun() -> Job:
        job = await jobs.begin(conn, id)
        assert job is not None
        assert await jobs.save(conn, id, {}, attempt=job.attempts)
        return job

    stale = [await begun()]
    assert await jobs.give_back(conn, id, attempt=stale[0].attempts)
    stale.append(await begun())
    assert await jobs.finish(conn, id, JobState.FAILED, message="no", attempt=stale[1].attempts)
    assert await jobs.again(conn, id)
    now = await begun()
    assert [job.tries for job in (*stale, now)] == [1, 1, 1]
    for job in stale:
        assert not await jobs.save(conn, id, {"meddled": True}, attempt=job.attempts)


async def test_light_jobs_do_not_wait_behind_heavy_ones(conn: Connection, database: str) -> None:
    for _ in range(3):
        await QUEUE.enqueue(conn, "heavy")
    light = await QUEUE.enqueue(conn, "note")
    async with working(database):
        await ended(conn, light)
        async with asyncio.timeout(60):
            while await seen(conn) != ["noted", "begun"] and await seen(conn) != ["begun", "noted"]:
                await asyncio.sleep(0.02)
        rows = await jobs.listed(conn, kind="heavy", limit=9)
        assert Counter(job.state for job in rows) == {JobState.RUNNING: 1, JobState.PENDING: 2}


@pytest.mark.once
async def test_a_worker_whose_connections_are_cut_goes_on(conn: Connection, database: str) -> None:
    on = await QUEUE.enqueue(conn, "forever")
    async with working(database):
        await until_seen(conn, on, ["begun"])
        cut = await conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        assert cut.rowcount > 3
        id = await QUEUE.enqueue(conn, "note")
        assert (await ended(conn, id)).state is JobState.DONE
        assert on is not None
        assert await QUEUE.cancel(conn, on)
        assert (await ended(conn, on)).state is JobState.CANCELLED


BREAK = """
create table broken ();
create function refuse() returns trigger language plpgsql as $$
begin
    if exists (select from public.broken) then raise 'no'; end if;
    return old;
end $$;
create trigger refuse before delete on procrastinate.procrastinate_jobs
    for each row execute function refuse();
insert into broken default values;
"""


async def test_a_ticket_whose_end_could_not_be_written_blocks_nothing(
    conn: Connection, database: str
) -> None:
    id = await QUEUE.enqueue(conn, "away")
    await conn.execute(BREAK)
    async with working(database):
        await until_seen(conn, id, ["tried"])
        await asyncio.sleep(0.5)  # the next attempt is due, and its place is taken by what is over
        assert await seen(conn, id) == ["tried"]
        await conn.execute("delete from broken")
        assert (await ended(conn, id)).state is JobState.FAILED
    assert await tickets(conn) == 0


async def test_who_leaves_takes_their_jobs_along(conn: Connection, database: str) -> None:
    await jobs.add(conn, "note", did="did:plc:b", subject=None, args={})
    id = await QUEUE.enqueue(conn, "steps", did="did:plc:a", args={"s": 0.5})
    async with working(database):
        await until_seen(conn, id, ["first", "second"])
        await jobs.erase(conn, "did:plc:a")
        async with asyncio.timeout(60):
            while await tickets(conn) > 0:
                await asyncio.sleep(0.02)
    assert [job.did for job in await jobs.listed(conn, limit=9)] == ["did:plc:b"]
    assert await seen(conn, id) == ["first", "second"]


async def test_a_task_that_cancels_itself_has_failed_that_attempt(conn: Connection, database: str) -> None:
    id = await QUEUE.enqueue(conn, "stray")
    assert id is not None
    async with working(database):
        await until_seen(conn, id, ["tried"])
        async with asyncio.timeout(60):
            while (job := await jobs.get(conn, id)) is None or job.state is JobState.RUNNING:
                await asyncio.sleep(0.02)
        await asyncio.sleep(1)
        assert await seen(conn, id) == ["tried"]
        assert await QUEUE.cancel(conn, id)
        job = await ended(conn, id)
    assert (job.state, job.attempts) == (JobState.CANCELLED, 2)
