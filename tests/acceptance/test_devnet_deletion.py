"""A person who signed in with a real PDS deletes their account, here and what is theirs there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from indexer.shadow import replay
from tests.acceptance.service import Answers, Program, cursors, until
from tests.acceptance.service import web as served
from tests.devnet.network import Account, Devnet
from tests.devnet.records import tid
from tests.integration.appview.auth.test_sessions_devnet import Browser
from tests.integration.mentions import in_files, in_tables

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(300)]

NS = "fm.plyr"
WHEN = "2026-07-04T14:00:00.000Z"
TITLES = ("Zugvögel In Maschinenstadt", "Maschinenliste")


@dataclass
class Town:
    """All of plyr on a devnet of one PDS."""

    net: Devnet
    dsn: str
    folder: Path
    answers: Answers
    url: str

    async def caught_up(self) -> None:
        pds = self.net.pds[0]
        newest = await self.net.last_seq(0)

        async def reached() -> bool:
            return (await cursors(self.dsn)).get(pds.source, 0) >= newest

        await until(reached, 60, f"the cursor to reach {newest}")

    async def fact(self, statement: str) -> Any:
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as conn:
            row = await (await conn.execute(statement.encode())).fetchone()
            return None if row is None else row[0]

    async def titles(self) -> set[str]:
        latest = await self.answers.all(f"{NS}.feed.getLatest", "tracks")
        return {view["record"]["title"] for view in latest}


@pytest.fixture
async def town(database: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        net = await stack.enter_async_context(Devnet(pds=1))
        environ = net.service_settings() | {
            "PLYR_DATABASE_URL": database,
            "PLYR_DATA_DIR": str(tmp_path / "data"),
            "PLYR_SEAL_ENTRIES": "10",
        }
        answers = await stack.enter_async_context(served(environ, tmp_path / "web.log"))
        for command in ("ingest", "sync run"):
            log = tmp_path / f"{command.replace(' ', '-')}.log"
            await stack.enter_async_context(Program(command, environ, log))
        yield Town(net, database, tmp_path / "data", answers, answers.origin)


def a_track(title: str) -> dict[str, Any]:
    return {
        "title": title, "artist": "Somebody", "fileType": "mp3", "createdAt": WHEN,
        "audioUrl": "https://audio.example/a.mp3",
    }  # fmt: skip


async def write_all(net: Devnet, ann: Account, bob: Account) -> None:
    mine = [await net.put(ann, f"{NS}.track", tid(n), a_track(f"{TITLES[0]} {n}")) for n in range(60)]
    his = await net.put(bob, f"{NS}.track", tid(1), a_track("Always Here"))
    subject = {"uri": his["uri"], "cid": his["cid"]}
    await net.put(ann, f"{NS}.like", tid(2), {"subject": subject, "createdAt": WHEN})
    items = [{"subject": {"uri": track["uri"], "cid": track["cid"]}} for track in mine[:2]]
    record = {"name": TITLES[1], "listType": "album", "items": items, "createdAt": WHEN}
    await net.put(ann, f"{NS}.list", tid(3), record)


async def keep_private(browser: Browser) -> None:
    """Something in each table that is nobody else's business."""
    playing = {
        "track_id": 1, "file_id": "x", "track_name": TITLES[0], "artist_name": "Somebody",
        "duration_ms": 1, "progress_ms": 0, "is_playing": True,
    }  # fmt: skip
    for method, path, body in (
        ("PUT", "/queue/", {"state": {"track_ids": []}}),
        ("POST", "/preferences/", {"theme": "light"}),
        ("POST", "/now-playing/", playing),
    ):
        answer = await browser.ask(method, path, json=body)
        assert answer.status == 200, answer.body


async def test_a_person_leaves_with_everything_and_comes_back(town: Town) -> None:
    net = town.net
    ann, bob = await net.accounts(["ann", "bob"])
    await write_all(net, ann, bob)
    await town.caught_up()
    assert len(await town.titles()) == 61
    texts = [ann.did, ann.handle, *TITLES]
    assert in_tables(town.dsn, texts)

    async def sealed() -> bool:
        return bool(in_files(town.folder, texts))

    await until(sealed, 90, "the archive to mention the account")
    async with Browser(town.url) as browser:
        back = await browser.sign_in(ann)
        assert back.status == 303, back.body
        await keep_private(browser)
        kept = {row.split(":")[0] for row in in_tables(town.dsn, [ann.did])}
        assert {"now_playing", "preference", "queue"} <= kept
        wish = {"confirmation": ann.handle, "delete_atproto_records": True}
        answer = await browser.ask("DELETE", "/account/", json=wish)
        assert answer.status == 200, answer.body
        assert answer.json == {
            "deleted": {
                "tracks": 60, "albums": 1, "likes": 1, "comments": 0, "r2_objects": 0, "atproto_records": 62,
            },
            "finished": True,
            "warnings": [],
        }  # fmt: skip
        assert (await browser.ask("GET", "/auth/me")).status == 401
    for collection in ("track", "like", "list"):
        assert await net.list_records(ann, f"{NS}.{collection}") == []
    assert await town.titles() == {"Always Here"}

    async def finished() -> bool:
        return await town.fact("select count(*) from account_deletion where finished_at is null") == 0

    await until(finished, 60, "the deletion to finish")
    # The repo goes on: what it says is nothing to us.
    await net.put(ann, f"{NS}.track", tid(99), a_track(TITLES[0]))
    await town.caught_up()
    assert await town.titles() == {"Always Here"}
    assert [row.split(":")[0] for row in in_tables(town.dsn, texts)] == ["outbox"]
    assert in_files(town.folder, texts) == []
    assert (await replay(town.dsn, town.folder / "archive", NS, workers=1)).differences == []

    async with Browser(town.url) as browser:
        assert (await browser.sign_in(ann)).status == 303
        assert (await browser.ask("GET", "/auth/me")).json["did"] == ann.did

        async def shown() -> bool:
            return await town.titles() == {"Always Here", TITLES[0]}

        await until(shown, 60, "the account to be read from its PDS again")
