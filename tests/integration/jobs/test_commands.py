"""`plyr worker`, `plyr scheduler` and `plyr jobs` as a person starts them."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from bin.cli import main
from bin.kinds import SCHEDULES, job_queue
from storage import jobs
from storage.jobs import JobState
from storage.postgres import Connection
from tests.command import plyr
from tests.integration.jobs.doing import ended


def running(database: str, folder: Path, command: str) -> AbstractAsyncContextManager[Process]:
    return plyr(command, environ={"PLYR_DATABASE_URL": database, "PLYR_DATA_DIR": str(folder)})


async def told(capsys: pytest.CaptureFixture[str], database: str, *words: str) -> tuple[int, str]:
    """What `plyr jobs` ends with and says."""
    code = await asyncio.to_thread(main, ["jobs", *words, "--database-url", database])
    return code, capsys.readouterr().out


async def test_the_houses_jobs_are_made_and_done_and_both_processes_end_at_once(
    conn: Connection, database: str, tmp_path: Path
) -> None:
    kinds = {each.kind for each in SCHEDULES}
    async with (
        running(database, tmp_path, "scheduler") as scheduler,
        running(database, tmp_path, "worker") as worker,
    ):
        async with asyncio.timeout(60):
            while {job.kind for job in await jobs.listed(conn, state=JobState.DONE, limit=99)} < kinds:
                await asyncio.sleep(0.05)
        for process in (scheduler, worker):
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert [await scheduler.wait(), await worker.wait()] == [0, 0]


async def test_jobs_that_nobody_could_do_are_a_reason_not_to_start(
    conn: Connection, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await jobs.add(conn, "of.tomorrow", did=None, subject=None, args={})
    async with running(database, tmp_path, "worker") as one, running(database, tmp_path, "scheduler") as two:
        for process in (one, two):
            _, error = await process.communicate()
            assert process.returncode == 2
            assert error == (
                b"plyr: jobs wait that this plyr cannot do: of.tomorrow (1); "
                b"plyr jobs cancel --kind ends them\n"
            )
    assert (await told(capsys, database, "cancel", "--kind", "of.tomorrow"))[0] == 0
    assert await jobs.unfinished(conn) == {}


async def test_jobs_can_be_listed_looked_at_and_done_again(
    conn: Connection, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await told(capsys, database, "list") == (0, "No job is here, and none was in the last weeks.\n")
    id = await job_queue().enqueue(conn, "jobs.forget", did="did:plc:a", args={"x": 1})
    assert id is not None
    await jobs.finish(conn, id, JobState.FAILED, message="no", error="The disk is full.")
    code, out = await told(capsys, database, "list", "--kind", "jobs.forget")
    assert code == 0
    assert "1 failed" in out
    assert f"{id}  jobs.forget  failed" in out
    assert "The disk is full." in out
    _, out = await told(capsys, database, "list", "--json")
    assert orjson.loads(out)["id"] == str(id)
    code, out = await told(capsys, database, "show", str(id))
    assert (code, "args     x: 1" in out) == (0, True)
    assert (await told(capsys, database, "show", str(uuid4())))[0] == 1
    assert (await told(capsys, database, "retry"))[0] == 2
    assert (await told(capsys, database, "retry", str(uuid4())))[0] == 1
    assert await told(capsys, database, "retry", str(id)) == (
        0,
        "1 job will be done again, if `plyr worker` runs.\n",
    )
    async with running(database, tmp_path, "worker"):
        assert (await ended(conn, id)).state is JobState.DONE
