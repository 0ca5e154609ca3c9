"""A person who signed in with a real PDS deletes their account, here and what is theirs there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from appview.guards import ADMIN_HEADER
from indexer.shadow import replay
from lexicons.catalog import Catalog
from tests.acceptance.service import Answers, Program, cursors, until
from tests.acceptance.service import web as served
from tests.devnet.network import Account, Devnet
from tests.devnet.records import tid
from tests.integration.appview.auth.test_sessions_devnet import Browser
from tests.integration.mentions import in_files, in_tables

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(300)]

CATALOG = Catalog.load()
NS = "fm.plyr"
SECRET = "a secret of the operator"
WHEN = "2026-07-04T14:00:00.000Z"
NAMED = ("handle", "did", "artist_did", "q", "actor", "actors", "target")
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
            "PLYR_ADMIN_TOKEN": SECRET,
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


def addresses(document: dict[str, Any], words: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every route that can be read, its parameters filled with the words that are known by their names."""
    for path, operations in document["paths"].items():
        names = {each["name"]: each for each in operations.get("get", {}).get("parameters", ())}
        needed = {name for name, each in names.items() if each["required"]}
        if "get" not in operations or needed - words.keys():
            continue
        query = {name: words[name] for name in names if name in words and names[name]["in"] == "query"}
        yield re.sub(r"\{(\w+)\}", lambda found: words[found[1]], path), query


async def mentioned(browser: Browser, ann: Account, words: Mapping[str, str]) -> set[str]:
    """Which routes of ours say anything of the account, asked about it by both of its names."""
    document = (await browser.ask("GET", "/openapi.json")).json
    page = f"/track/{words['track_id']}"
    pages = ("/", "/metrics", "/transparency", page, f"/embed{page}")
    asked: dict[str, tuple[str, dict[str, str]]] = {path: (path, {}) for path in pages}
    for name in (ann.did, ann.handle):
        named = dict.fromkeys(NAMED, name) | dict(words)
        xrpc = [(f"/xrpc/{nsid}", named) for nsid in CATALOG.queries()]
        for path, query in (*addresses(document, named), *xrpc):
            asked[f"{path}?{urlencode(query)}"] = path, query
    texts = [text.encode() for text in (ann.did, ann.handle, *TITLES)]
    found: set[str] = set()
    for path, query in asked.values():
        answer = await browser.ask("GET", path, params=query, headers={ADMIN_HEADER: SECRET})
        assert answer.status < 500, (path, answer.body)
        # A refusal may repeat the name that it was asked for.
        if answer.status < 400 and any(text in answer.body for text in texts):
            found.add(path.replace(ann.did, "ann").replace(ann.handle, "ann"))
    return found


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
        [track, *_] = (await browser.ask("GET", "/tracks/", params={"artist_did": ann.did})).json["tracks"]
        [album] = (await browser.ask("GET", f"/albums/{ann.handle}")).json["albums"]
        words: dict[str, str] = dict.fromkeys(("uri", "uris", "subject"), track["atproto_record_uri"])
        words |= {"track_id": str(track["id"]), "slug": album["slug"], "limit": "50"}
        words["list"] = f"at://{ann.did}/{NS}.list/{tid(3)}"
        before = await mentioned(browser, ann, words)
        assert len(before) > 30
        assert {
            "/",
            "/admin/audit",
            "/albums/ann",
            "/auth/me",
            "/search/",
            "/sitemap-data",
            "/users/ann/likes",
        } < before
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
    async with Browser(town.url) as browser:
        assert await mentioned(browser, ann, words) == set()
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
