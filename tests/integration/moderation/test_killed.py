"""kill -9 between decision, label and effect: after a restart all three say the same."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from appview.moderation.actions import Action
from bin.settings import ROOT
from storage.moderation import Resolution
from tests.integration.appview.test_process import address_of, web
from tests.integration.moderation.judging import LABEL, RKEYS, Bench

pytestmark = pytest.mark.once

# Where a decision is held, by what somebody else holds there; in the order in which it comes to them.
HOLDS: dict[str, Any] = {
    "before the effect": "select from repo for update",
    "before the case": "lock moderation_case in share row exclusive mode",
    "before the log": "lock moderation_event in share mode",
    "before the label": "select from label_head for update",
    "at the commit": "select pg_advisory_xact_lock(4711)",
}
AT_COMMIT: Any = """
create function wait_there() returns trigger language plpgsql as
$$ begin perform pg_advisory_xact_lock(4711); return null; end $$;
create constraint trigger wait_there after insert on label
    deferrable initially deferred for each row execute function wait_there();
"""


@asynccontextmanager
async def plyr(database: str, folder: Path, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PLYR_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bin.cli", "moderation", *command),
        *("--database-url", database, "--data-dir", str(folder), "--public-url", "https://plyr.test"),
        cwd=ROOT,
        env=clean,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def others(conn: psycopg.AsyncConnection, *, waiting: bool) -> int:
    """How many connections of others there are to this database, or of them how many wait for a lock."""
    query = (
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        " and application_name = 'plyr moderation' and (not %s or wait_event_type = 'Lock')"
    )
    row = await (await conn.execute(query, [waiting])).fetchone()
    assert row is not None
    return int(row[0])


async def told(bench: Bench, folder: Path, uri: str) -> tuple[bool, bool, bool]:
    """Whether it is down, as the log, the labels and the tracks have it: of a server that was started now."""
    more = ("--data-dir", str(folder), "--public-url", "https://plyr.test")
    async with web(bench.dsn, *more) as process, aiohttp.ClientSession(await address_of(process)) as http:
        async with http.get("/xrpc/com.atproto.label.queryLabels", params={"uriPatterns": uri}) as response:
            labels = [each["val"] for each in (await response.json())["labels"]]
        async with http.get("/xrpc/fm.plyr.feed.getTrack", params={"uri": uri}) as response:
            shown = response.status == 200
    assert labels in ([], [LABEL])
    return await last(bench, uri) == Action.TAKEDOWN, labels == [LABEL], not shown


async def last(bench: Bench, uri: str) -> str:
    decided = [each for each in await bench.history(uri) if each in (Action.TAKEDOWN, Action.RESTORE)]
    return decided[-1] if decided else Action.RESTORE


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("action", [Action.TAKEDOWN, Action.RESTORE])
async def test_killed_anywhere_log_label_and_effect_agree_after_a_restart(
    bench: Bench, tmp_path: Path, action: Action, hold: str
) -> None:
    (uri,) = await bench.publish(RKEYS[0])
    await bench.flag(uri)
    if action is Action.RESTORE:
        await bench.decide(Action.TAKEDOWN, uri)
    await bench.rows(AT_COMMIT)
    async with await psycopg.AsyncConnection.connect(bench.dsn) as holder:
        await holder.execute(HOLDS[hold])
        async with plyr(bench.dsn, tmp_path, action, uri) as process:
            async with asyncio.timeout(60):
                while not await others(bench.conn, waiting=True):
                    assert process.returncode is None
                    await asyncio.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
        await holder.rollback()
    async with asyncio.timeout(60):
        while await others(bench.conn, waiting=False):
            await asyncio.sleep(0.01)
    before = await told(bench, tmp_path, uri)
    assert len(set(before)) == 1, before
    if before[0] is (action is Action.RESTORE):  # nothing was decided: somebody does it again
        async with plyr(bench.dsn, tmp_path, action, uri) as process:
            out, error = await process.communicate()
            assert process.returncode == 0, error
            assert uri in out.decode()
    assert await told(bench, tmp_path, uri) == ((action is Action.TAKEDOWN),) * 3
    end = Resolution.VIOLATION if action is Action.TAKEDOWN else Resolution.NO_ACTION
    assert (await bench.case(uri)).resolution == end
    assert await bench.rows("select resolution from copyright_scan") == [(end,)]
