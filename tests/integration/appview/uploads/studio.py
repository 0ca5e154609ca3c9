"""A server that takes uploads, on a real database and a real store, and people with keys to it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import aiohttp
import orjson
import psycopg
from aiohttp import web

from appview.app import build_app, make_reader, make_writer
from appview.auth import secret
from appview.auth.assembly import assembled
from appview.auth.desk import SignIn
from appview.auth.keyring import KeyFile, KeyRing
from appview.auth.secret import Key
from appview.auth.service_tokens import ServiceTokens
from appview.auth.viewers import Viewers
from appview.clients import Clients
from appview.jobs.queue import JobQueue
from appview.jobs.watch import JobWatch
from appview.media.receive import KIND, Receiver, UploadLimits
from appview.protocol import make_runner
from appview.rest.uploads import Uploads
from appview.service import AppConfig
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Nsid
from lexicons.validate import validate_output
from storage import sessions
from storage.blobs.store import BlobStore
from storage.postgres import make_pool
from storage.sessions import Kind, NewSession
from tests.integration.appview.auth.signing import Village
from tests.integration.appview.service import Answer

ANN, BOB = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), Did("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")
OURS = "did:web:plyr.test"
SCOPE = "atproto repo:fm.plyr.track repo:fm.plyr.like"
UPLOAD = "/xrpc/fm.plyr.audio.uploadAudio"


@dataclass
class Studio:
    """The server, what lies behind it, and whom it knows."""

    url: str
    dsn: str
    store: BlobStore
    http: aiohttp.ClientSession
    stack: AsyncExitStack = field(repr=False)

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        async with self.http.request(method, self.url + path, allow_redirects=False, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def upload(self, key: str | None, body: Any, **params: str) -> Answer:
        """As a client uploads that says what it sends."""
        headers = {"Content-Type": "audio/flac"} | bearer(key)
        query = {"title": "Night Ferry"} | params
        body = io.BytesIO(body) if isinstance(body, bytes) else body
        return await self.request("POST", UPLOAD, data=body, params=query, headers=headers)

    async def key(
        self, did: Did = ANN, *, scope: str = SCOPE, granted: bool = True, kind: Kind = Kind.TOKEN
    ) -> str:
        return await add_key(self.dsn, did, scope=scope, granted=granted, kind=kind)

    async def rows(self, statement: LiteralString, *params: object) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as conn:
            cursor = await conn.execute(statement, params)
            return await cursor.fetchall() if cursor.description else []

    async def args(self) -> list[dict[str, Any]]:
        """What the jobs were told, oldest first."""
        return [row[0] for row in await self.rows("select args from job order by created_at")]

    async def staged(self, name: str) -> bytes:
        return b"".join([chunk async for chunk in self.store.read_staged(name)])

    async def nothing_left(self) -> bool:
        """Whether neither bytes nor rows of any upload are there."""
        names = [each.name async for each in self.store.list_staged()]
        return not names and not await self.rows("select name from staged_upload")

    async def until_nothing_left(self) -> None:
        async with asyncio.timeout(60):
            while not await self.nothing_left():
                await asyncio.sleep(0.02)

    async def until_rows(self, count: int) -> None:
        """Wait until so many uploads are on their way in."""
        async with asyncio.timeout(60):
            while len(await self.rows("select name from staged_upload")) != count:
                await asyncio.sleep(0.02)


def bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


async def add_key(dsn: str, did: Did, *, scope: str, granted: bool, kind: Kind) -> str:
    """A session's key. Nobody opens what is sealed in it."""
    key = Key(secret.fresh())
    new = NewSession(
        kind=kind,
        did=did,
        handle="ann.test",
        scope=scope,
        issuer="https://as.test" if granted else None,
        credentials=b"sealed" if granted else None,
        life_s=3600,
        token_hash=key.digest,
        prefix=key.prefix,
    )
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await sessions.add(conn, new)
    return key.text


@asynccontextmanager
async def opened(
    dsn: str,
    catalog: Catalog,
    store: BlobStore,
    keys: Path,
    *,
    limits: UploadLimits | None = None,
    client: GuardedClient | None = None,
    beat_s: float = 15.0,
) -> AsyncIterator[Studio]:
    """The application at a free port. With `client` it takes services' tokens."""

    def check(nsid: Nsid, body: bytes) -> None:
        validate_output(catalog, nsid, orjson.loads(body))

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        pool = await enter(make_pool(dsn, max_size=4, name="test"))
        reads = await enter(make_reader(dsn, connections=1))
        writes = await enter(make_writer(dsn))
        sign_in = SignIn(
            SCOPE,
            catalog.definitions,
            "https://front.test",
            origin="http://127.0.0.1",
            collections=catalog.collections.own,
        )
        auth = await enter(assembled(pool, reads, KeyRing(KeyFile(keys)), Village(), sign_in))
        services = None
        if client is not None:
            resolver = IdentityResolver(client, "https://plc.test", check_handles=False)
            services = ServiceTokens(reads=reads, writes=writes, resolver=resolver, audiences={OURS})
        receiver = Receiver(pool, store, JobQueue({KIND: "heavy"}), catalog, limits or UploadLimits())
        config = AppConfig(
            version="1.2.3",
            viewer_of=Viewers(Clients(), services=services, sessions=auth.sessions).of,
            on_answer=check,
        )
        app = build_app(
            reads,
            catalog,
            config,
            auth=auth,
            uploads=Uploads(receiver, auth.desk, reads, JobWatch(dsn, pool, beat_s=beat_s)),
        )
        runner = make_runner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        http = await enter(aiohttp.ClientSession())
        yield Studio(f"http://127.0.0.1:{runner.addresses[0][1]}", dsn, store, http, stack)
