"""A worker process with tasks that tests look at: each leaves a line in the table `seen` for what it does.

python -m tests.integration.jobs.doing DSN
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg

from appview.jobs.queue import JobQueue
from appview.jobs.tasks import Done, Task, TaskFailed, TryLater, Work
from appview.jobs.worker import Worker
from bin.settings import ROOT
from storage import jobs
from storage.jobs import Job
from storage.postgres import Connection, Pool, make_pool

TABLE = "create table if not exists seen (n bigserial, job uuid, what text)"
HEARTBEAT_S, STALLED_S, REVIVE_S = 0.2, 1.0, 0.2


def make_tasks(pool: Pool) -> list[Task]:
    async def saw(work: Work, what: str) -> None:
        async with pool.connection() as conn:
            await conn.execute("insert into seen (job, what) values (%s, %s)", (work.job.id, what))

    async def note(work: Work) -> Done:
        await saw(work, "noted")
        return Done("Noted.", {"attempts": work.job.attempts})

    async def steps(work: Work) -> Done:
        """Two steps; the second takes `s` seconds in the first attempt, `s2` in others."""
        if "first" not in work.job.facts:
            await saw(work, "first")
            await work.save({"first": 1}, warnings=["slow"])
        await work.report("second", "Being slow.", 0.5)
        await saw(work, "second")
        await asyncio.sleep(work.job.args.get("s" if work.job.attempts == 1 else "s2", 0))
        return Done("Both.", {"attempt": work.job.attempts})

    async def away(work: Work) -> Done:
        await saw(work, "tried")
        raise TryLater("They are away.", 0.01)

    async def broken(work: Work) -> Done:
        await saw(work, "tried")
        async with asyncio.TaskGroup() as group:
            group.create_task(_fail())
        raise AssertionError

    async def _fail() -> None:
        raise TaskFailed("It is no sound.")

    async def forever(work: Work) -> Done:
        await work.report("waiting", "Waiting.")
        await saw(work, "begun")
        await asyncio.Event().wait()
        raise AssertionError

    async def stray(work: Work) -> Done:
        await saw(work, "tried")
        raise asyncio.CancelledError

    async def torn(work: Work) -> Done:
        async with pool.connection() as conn, conn.transaction():
            await work.save({"torn": 1}, conn=conn)
            await saw(work, "saved" if "torn" in work.job.facts else "not saved")
            raise TaskFailed("It comes to nothing.")

    async def mend(work: Work) -> None:
        await saw(work, f"undo {work.job.facts}")

    async def undo(work: Work) -> None:
        """Fails as often as args say."""
        await saw(work, "undo")
        async with pool.connection() as conn:
            row = await conn.execute(
                "select count(*) from seen where what = 'undo' and job = %s", (work.job.id,)
            )
            (times,) = await row.fetchone() or (0,)
        if times <= work.job.args.get("undo_fails", 0):
            raise TryLater("Cannot undo it yet.", 0.01)

    return [
        Task("note", note),
        Task("steps", steps, undo, attempts=3),
        Task("away", away, undo, attempts=3),
        Task("broken", broken, undo),
        Task("forever", forever, undo),
        Task("heavy", forever, lane="heavy"),
        Task("stray", stray),
        Task("torn", torn, mend),
    ]


LANES = {
    "note": "light",
    "steps": "light",
    "away": "light",
    "broken": "light",
    "forever": "light",
    "heavy": "heavy",
    "stray": "light",
    "torn": "light",
}
QUEUE = JobQueue(LANES)


async def main(dsn: str) -> None:
    async with make_pool(dsn, max_size=4, name="test worker") as pool:
        worker = Worker(
            dsn,
            pool,
            make_tasks(pool),
            {"light": 4, "heavy": 1},
            heartbeat_s=HEARTBEAT_S,
            stalled_s=STALLED_S,
            revive_s=REVIVE_S,
        )
        work = asyncio.create_task(worker.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
        print("doing jobs", flush=True)
        try:
            await work
        except asyncio.CancelledError:
            return


@asynccontextmanager
async def working(dsn: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.jobs.doing", dsn),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        assert await process.stdout.readline() == b"doing jobs\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(conn: Connection, id: UUID | None, timeout_s: float = 60) -> Job:
    """The job, once it has ended."""
    assert id is not None
    async with asyncio.timeout(timeout_s):
        while True:
            job = await jobs.get(conn, id)
            assert job is not None
            if job.finished:
                return job
            await asyncio.sleep(0.02)


async def seen(conn: Connection, id: UUID | None = None) -> list[str]:
    """What was seen of a job, in order; of all if none is named."""
    rows = await conn.execute("select what from seen where %s::uuid is null or job = %s order by n", (id, id))
    return [row[0] for row in await rows.fetchall()]


async def until_seen(conn: Connection, id: UUID | None, what: Sequence[str], timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while await seen(conn, id) != list(what):
            await asyncio.sleep(0.02)


async def connect(dsn: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
    conn = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    await conn.execute(TABLE)
    return conn


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
