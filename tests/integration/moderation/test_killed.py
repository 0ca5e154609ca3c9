"""kill -9 between decision, label and effect: after a restart all three say the same.

Of a track, of a picture, and of whether a track is listed."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from appview.moderation.actions import Action
from storage.moderation import Resolution
from tests.command import plyr
from tests.integration.appview.test_process import address_of, web
from tests.integration.moderation.judging import LABEL, RKEYS, Bench, subject

pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]

# Where a decision is held, by what somebody else holds there; in the order in which it comes to them.
HOLDS: dict[str, Any] = {
    "before the effect": "select from repo for update",
    "before the case": "lock moderation_case in share row exclusive mode",
    "before the cover": "lock sensitive_image in share mode",
    "before the log": "lock moderation_event in share mode",
    "before the label": "select from label_head for update",
    "at the commit": "select pg_advisory_xact_lock(4711)",
}
AT_COMMIT: Any = """
create function wait_there() returns trigger language plpgsql as
$$ begin perform pg_advisory_xact_lock(4711); return null; end $$;
create constraint trigger wait_there after insert on moderation_event
    deferrable initially deferred for each row execute function wait_there();
"""
TRACK_HOLDS = [each for each in HOLDS if each != "before the cover"]
PICTURE_HOLDS = ["before the effect", "before the cover", "before the log", "at the commit"]
LISTING_HOLDS = ["before the log", "at the commit"]
BACK = {Action.TAKEDOWN: Action.RESTORE, Action.DELIST: Action.RELIST}
PICTURE = "ab" * 32


def deciding(database: str, folder: Path, *command: str) -> AbstractAsyncContextManager[Process]:
    place = ("--database-url", database, "--data-dir", str(folder), "--public-url", "https://plyr.test")
    return plyr("moderation", *command, *place)


async def others(conn: psycopg.AsyncConnection, *, waiting: bool) -> int:
    """How many connections of others there are to this database, or of them how many wait for a lock."""
    query = (
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        " and application_name = 'plyr moderation' and (not %s or wait_event_type = 'Lock')"
    )
    row = await (await conn.execute(query, [waiting])).fetchone()
    assert row is not None
    return int(row[0])


@asynccontextmanager
async def restarted(bench: Bench, folder: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A server that was started now."""
    more = ("--data-dir", str(folder), "--public-url", "https://plyr.test")
    async with web(bench.dsn, *more) as process, aiohttp.ClientSession(await address_of(process)) as http:
        yield http


async def said(http: aiohttp.ClientSession, uri: str) -> list[str]:
    """The values of the labels of this."""
    async with http.get("/xrpc/com.atproto.label.queryLabels", params={"uriPatterns": uri}) as response:
        return [each["val"] for each in (await response.json())["labels"]]


async def shown(http: aiohttp.ClientSession, uri: str) -> dict[str, Any] | None:
    """The track; None: there is none."""
    async with http.get("/xrpc/fm.plyr.feed.getTrack", params={"uri": uri}) as response:
        return (await response.json())["track"] if response.status == 200 else None


async def last(bench: Bench, about: str, action: Action) -> bool:
    """Whether the log has this as the newest, not its opposite."""
    decided = [each for each in await bench.history(about) if each in (action, BACK[action])]
    return bool(decided) and decided[-1] == action


async def killed(bench: Bench, folder: Path, hold: str, *command: str) -> None:
    """Have a process of its own decide this, and kill it where it is held; its transaction is over then."""
    await bench.rows(AT_COMMIT)
    async with await psycopg.AsyncConnection.connect(bench.dsn) as holder:
        await holder.execute(HOLDS[hold])
        async with deciding(bench.dsn, folder, *command) as process:
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


async def again(bench: Bench, folder: Path, action: Action, about: str) -> None:
    async with deciding(bench.dsn, folder, action, about) as process:
        out, error = await process.communicate()
        assert process.returncode == 0, error
        assert about in out.decode()


@pytest.mark.parametrize("hold", TRACK_HOLDS)
@pytest.mark.parametrize("action", [Action.TAKEDOWN, Action.RESTORE])
async def test_killed_anywhere_log_label_and_effect_agree_after_a_restart(
    bench: Bench, tmp_path: Path, action: Action, hold: str
) -> None:
    (uri,) = await bench.publish(RKEYS[0])
    await bench.flag(uri)
    if action is Action.RESTORE:
        await bench.decide(Action.TAKEDOWN, uri)

    async def told(http: aiohttp.ClientSession) -> tuple[bool, bool, bool]:
        """Whether it is down, as the log, the labels and the tracks have it."""
        labels = await said(http, uri)
        assert labels in ([], [LABEL])
        return await last(bench, uri, Action.TAKEDOWN), labels == [LABEL], await shown(http, uri) is None

    await killed(bench, tmp_path, hold, action, uri)
    async with restarted(bench, tmp_path) as http:
        before = await told(http)
        assert len(set(before)) == 1, before
        if before[0] is (action is Action.RESTORE):  # nothing was decided: somebody does it again
            await again(bench, tmp_path, action, uri)
        assert await told(http) == ((action is Action.TAKEDOWN),) * 3
    end = Resolution.VIOLATION if action is Action.TAKEDOWN else Resolution.NO_ACTION
    assert (await bench.case(uri)).resolution == end
    assert await bench.rows("select resolution from copyright_scan") == [(end,)]


@pytest.mark.parametrize("hold", PICTURE_HOLDS)
async def test_killed_anywhere_log_case_and_effect_agree_about_a_picture_that_was_sensitive(
    bench: Bench, tmp_path: Path, hold: str
) -> None:
    uri = await bench.show(RKEYS[0], imageUrl=f"https://plyr.test/image/{PICTURE}")
    picture = subject(f"{bench.ann.did}/{PICTURE}").text
    await bench.open(picture, "sexual")
    await bench.decide(Action.RESOLVE, picture, resolution=Resolution.VIOLATION)
    await bench.decide(Action.APPEAL, picture)

    async def told(http: aiohttp.ClientSession) -> tuple[bool, bool, bool, bool]:
        """Whether it is down, as the log, the case, the list of sensitive pictures and its track have it."""
        track = await shown(http, uri)
        assert track is not None
        resolved = (await bench.case(picture)).state == "resolved"
        sensitive = await bench.rows("select did from sensitive_image")
        return await last(bench, picture, Action.TAKEDOWN), resolved, not sensitive, "image" not in track

    await killed(bench, tmp_path, hold, Action.TAKEDOWN, picture)
    async with restarted(bench, tmp_path) as http:
        before = await told(http)
        assert len(set(before)) == 1, before
        if not before[0]:
            await again(bench, tmp_path, Action.TAKEDOWN, picture)
        assert await told(http) == (True,) * 4


@pytest.mark.parametrize("hold", LISTING_HOLDS)
@pytest.mark.parametrize("action", [Action.DELIST, Action.RELIST])
async def test_killed_anywhere_log_record_and_track_agree_about_what_is_listed(
    bench: Bench, tmp_path: Path, action: Action, hold: str
) -> None:
    (uri,) = await bench.publish(RKEYS[0])
    if action is Action.RELIST:
        await bench.decide(Action.DELIST, uri)

    async def told(http: aiohttp.ClientSession) -> tuple[bool, bool, bool]:
        """Whether it is unlisted, as the log, the record and the track have it."""
        track = await shown(http, uri)
        assert track is not None
        ((why,),) = await bench.rows("select unlisted from record")
        return await last(bench, uri, Action.DELIST), why is not None, track.get("unlisted", False)

    await killed(bench, tmp_path, hold, action, uri)
    async with restarted(bench, tmp_path) as http:
        before = await told(http)
        assert len(set(before)) == 1, before
        if before[0] is (action is Action.RELIST):
            await again(bench, tmp_path, action, uri)
        assert await told(http) == ((action is Action.DELIST),) * 3
