"""The application with moderators, tracks as the firehose brings them, and an AuDD that flags their sound."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from playwright.async_api import Browser, Page

from appview.moderation.audd import Audd
from appview.moderation.cases import for_flagged
from appview.moderation.scanning import Outcome, Scanner
from appview.moderation.variants import Variants
from appview.protocol import make_runner
from bin.settings import load
from bin.web import application
from firehose.net import GuardedClient
from indexer.apply import apply_batch
from indexer.prepare import prepare
from indexer.profiles import refresh_profiles
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Rkey
from storage import repos
from storage.blobs.filesystem import FilesystemStore
from storage.postgres import Pool, make_pool
from storage.sessions import Kind
from tests.acceptance.browser import PATIENCE_MS
from tests.fakenet.world import TRACK, Author, track
from tests.integration.appview.service import Answer
from tests.integration.appview.sounds import keep, owner_of
from tests.integration.appview.uploads.studio import SCOPE, add_key
from tests.integration.moderation.asked import TOKEN, Asked, asked
from tests.ports import free_port

CATALOG = Catalog.load()
MOLLY, MAX = Did("did:plc:mmmmmmmmmmmmmmmmmmmmmmmm"), Did("did:plc:mmmmmmmmmmmmmmmmmmmmmmmn")


@dataclass
class Court:
    """`http` keeps no cookies."""

    url: str
    dsn: str
    pool: Pool
    http: aiohttp.ClientSession
    store: FilesystemStore
    audd: Asked
    scanner: Scanner

    async def publish(self, author: Author, rkey: str, title: str, sound: bytes, **more: Any) -> str:
        """A track in sight with this sound; its URI."""
        events = [author.create(TRACK, rkey, track(title, **more))]
        async with self.pool.connection() as conn:
            await apply_batch(
                conn,
                prepare(events, CATALOG),
                catalog=CATALOG,
                source="wss://x",
                seq=None,
                identities=[author.identity],
            )
            await refresh_profiles(conn, await repos.all_ids(conn), CATALOG)
        uri = author.uri(TRACK, rkey)
        blob = await keep(self.dsn, self.store, sound, owner=owner_of(uri))
        await self.rows(
            "insert into track_media (did, rkey, stream_id, published_at) values (%s, %s, %s, now())",
            author.did,
            rkey,
            blob.id,
        )
        await self.rows(
            "insert into sound (blob_id, format, codec, rate, channels, duration_s, playable)"
            " values (%s, 'mp3', 'mp3', 44100, 2, 40, true)",
            blob.id,
        )
        return uri

    async def named(self, author: Author, handle: str) -> None:
        await self.rows("update repo set handle = %s where did = %s", handle, author.did)
        async with self.pool.connection() as conn:
            await refresh_profiles(conn, await repos.all_ids(conn), CATALOG)

    async def scan(self, uri: str, answer: bytes) -> Outcome:
        """Have AuDD say this of a track."""
        self.audd.says(answer)
        did, rkey = owner_of(uri).split("/")
        return await self.scanner.scan(Did(did), Rkey(rkey))

    async def case(self, uri: str) -> int:
        return (await self.rows("select max(id) from moderation_case where subject = %s", uri))[0][0]

    async def rows(self, statement: LiteralString, *params: object) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as conn:
            cursor = await conn.execute(statement, params)
            return await cursor.fetchall() if cursor.description else []

    async def key(self, did: Did = MOLLY) -> str:
        return await add_key(self.dsn, did, scope=SCOPE, granted=True, kind=Kind.BROWSER)

    async def ask(self, method: str, path: str, key: str | None = None, **options: Any) -> Answer:
        """As a browser of its own does whose session this is."""
        headers = {"User-Agent": "Mozilla/5.0", **options.pop("headers", {})}
        if key is not None:
            headers["Cookie"] = f"session_id={key}"
        async with self.http.request(
            method, self.url + path, headers=headers, allow_redirects=False, **options
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def decide(self, key: str, case: int, act: str, *, seen: int | None = None, **form: str) -> Answer:
        newest = await self.rows(
            "select max(e.id) from moderation_event e, moderation_case c where c.id = %s"
            " and e.subject = c.subject",
            case,
        )
        data = {"act": act, "seen": str(newest[0][0] if seen is None else seen)} | form
        return await self.ask(
            "POST", f"/moderation/cases/{case}", key, data=data, headers={"Origin": self.url}
        )

    async def tab(self, browser: Browser, key: str, **options: Any) -> Page:
        """Of somebody who is signed in."""
        context = await browser.new_context(**options)
        host = urlsplit(self.url).hostname or ""
        await context.add_cookies([{"name": "session_id", "value": key, "domain": host, "path": "/"}])
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        return page


@asynccontextmanager
async def sitting(dsn: str, folder: Path, **settings: Any) -> AsyncIterator[Court]:
    """`settings` as the command line has them."""
    port = free_port()
    chosen: Mapping[str, Any] = {
        "database_url": dsn,
        "data_dir": str(folder),
        "port": port,
        "moderators": f"{MOLLY},{MAX}",
    }
    made = load({**chosen, **settings}, {})
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        app = await enter(application(made, CATALOG))
        runner = make_runner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        pool = await enter(make_pool(dsn, max_size=3, name="test"))
        audd = await enter(asked())
        url = f"http://127.0.0.1:{port}"
        store = FilesystemStore(folder / "blobs")
        scanner = Scanner(
            pool,
            Audd(await enter(GuardedClient(True)), audd.url, TOKEN, timeout_s=10),
            lambda sha256: f"{url}/audio/{sha256}",
            Variants(store, folder / "scratch"),
            on_flag=for_flagged(CATALOG.collections.track),
        )
        http = await enter(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        yield Court(url, dsn, pool, http, store, audd, scanner)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
