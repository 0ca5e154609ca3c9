"""`plyr sync run` as a process of its own, against servers of this machine."""

from __future__ import annotations

import asyncio
import signal
import time
from asyncio.subprocess import Process
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psycopg
import pytest

from tests.command import plyr
from tests.fakenet.pds import GET_REPO, FakePds
from tests.fakenet.server import Fault
from tests.fakenet.world import TRACK, Author, track
from tests.integration.indexer.resyncing import discovered, key, live, until


def sync_run(database: str, folder: Path, pds: FakePds) -> AbstractAsyncContextManager[Process]:
    variables = {
        "PLYR_DATABASE_URL": database,
        "PLYR_DATA_DIR": str(folder),
        "PLYR_DEV_LOOPBACK": "true",
        "PLYR_PLC_URL": pds.origin,
        "PLYR_SOURCES": pds.origin.replace("http", "ws"),
    }
    return plyr("sync", "run", environ=variables)


async def test_sync_run_reads_what_is_due_and_ends_at_once_when_told_to(
    database: str, tmp_path: Path
) -> None:
    ana, ben = Author("ana"), Author("ben")
    ana.create(TRACK, key("song"), track("Song"))
    ben.create(TRACK, key("song"), track("Song"))
    async with (
        FakePds() as pds,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as conn,
        sync_run(database, tmp_path, pds) as process,
    ):
        await discovered(conn, pds, [ana])
        await until(conn, "active", timeout_s=60)
        assert set(await live(conn)) == {ana.uri(TRACK, key("song"))}
        pds.fail(Fault.SLOW, GET_REPO, ben.did)
        await discovered(conn, pds, [ben])
        async with asyncio.timeout(60):
            while not pds.asked[GET_REPO, ben.did]:
                await asyncio.sleep(0.02)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), 60)
        assert time.monotonic() - began < 30  # that body trickles for a minute
        assert process.returncode == 0
        assert b"Traceback" not in said
        assert b"nanobind" not in said


@pytest.mark.once
async def test_a_killed_sync_run_loses_nothing(database: str, tmp_path: Path) -> None:
    ana = Author("ana")
    ana.create(TRACK, key("song"), track("Song"))
    async with FakePds() as pds, await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
        pds.fail(Fault.SLOW, GET_REPO, ana.did)
        await discovered(conn, pds, [ana])
        async with sync_run(database, tmp_path, pds) as process, asyncio.timeout(60):
            while not pds.asked[GET_REPO, ana.did]:
                await asyncio.sleep(0.02)
            process.kill()
        async with sync_run(database, tmp_path, pds):
            await until(conn, "active", timeout_s=60)
        assert len(await live(conn)) == 1


async def test_a_sync_run_that_crashes_says_why_and_nothing_else(database: str, tmp_path: Path) -> None:
    async with (
        FakePds() as pds,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as conn,
    ):
        await conn.execute("drop table pulse")
        async with sync_run(database, tmp_path, pds) as process:
            _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b'relation "pulse" does not exist' in said
    assert b"nanobind" not in said
