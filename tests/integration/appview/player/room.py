"""Two servers on one database, people with keys to them, and a PDS that keeps what is written for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, LiteralString

import aiohttp
import psycopg
from aiohttp import web

from appview.app import build_app, make_reader
from appview.auth import secret
from appview.auth.assembly import assembled
from appview.auth.credentials import CredentialStore
from appview.auth.desk import SignIn
from appview.auth.keyring import KeyFile, KeyRing
from appview.auth.secret import Key
from appview.auth.viewers import Viewers
from appview.clients import Clients
from appview.guards import GuardConfig
from appview.media.attempt import Place
from appview.protocol import make_runner
from appview.rest.actors import Actors
from appview.rest.albums import Albums, Shown
from appview.rest.artists import Artists
from appview.rest.asker import Asker
from appview.rest.migration import Migration
from appview.rest.now_playing import Playings
from appview.service import AppConfig
from appview.sound_origins import ANYWHERE, SoundOrigins
from bin.kinds import job_queue
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Nsid
from storage import now_playing, player_queue, preferences, sessions
from storage.blobs.filesystem import FilesystemStore
from storage.postgres import make_pool
from storage.sessions import Kind, NewSession
from tests.integration.appview.player.pds import Neighbours, RecordKeeper
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import Answer

SCOPE = "atproto include:fm.plyr.authFullApp"
FRONT = "https://front.test"
PRIVATE = (preferences.erase, player_queue.erase, now_playing.erase)


@dataclass
class Room:
    urls: list[str]
    http: aiohttp.ClientSession
    seed: Seed
    pds: RecordKeeper
    store: CredentialStore
    dsn: str
    names: dict[str, Did] = field(default_factory=dict[str, Did])

    async def ask(
        self,
        method: str,
        path: str,
        key: str | None = None,
        *,
        server: int = 0,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        sent = dict(headers or {}) | ({"Authorization": f"Bearer {key}"} if key else {})
        url = self.urls[server] + path
        async with self.http.request(method, url, headers=sent, allow_redirects=False, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def told(self, method: str, path: str, key: str | None = None, **options: Any) -> Any:
        """The JSON of an answer that must be good."""
        answer = await self.ask(method, path, key, **options)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    def person(self, name: str, **about: Any) -> int:
        """The number of an account that we track."""
        id = self.seed.account(name, **about)
        self.names[name] = self.seed.dids[id]
        self.seed.commit()
        return id

    def track(self, artist: int, title: str, **fields: Any) -> tuple[int, str]:
        """Number and file id of a track whose sound is here."""
        file_id = sha256(f"{artist} {title}".encode()).hexdigest()
        told: dict[str, Any] = {"audioUrl": f"https://plyr.test/audio/{file_id}"} | fields
        uri = self.seed.track(artist, title, **told)
        self.seed.commit()
        return self.seed.stat(uri), file_id

    async def key(self, name: str, *, scope: str = SCOPE, granted: bool = True) -> str:
        """A token of theirs; one that was not granted was minted here, and acts for nobody."""
        did, key = self.names[name], Key(secret.fresh())
        new = NewSession(
            kind=Kind.TOKEN if granted else Kind.MINTED,
            did=did,
            handle=f"{name}.test",
            scope=scope,
            issuer=self.pds.url if granted else None,
            credentials=self.store.sealed(self.pds.credentials(did)) if granted else None,
            life_s=3600,
            token_hash=key.digest,
            prefix=key.prefix,
        )
        async with await psycopg.AsyncConnection.connect(self.dsn) as conn:
            await sessions.add(conn, new)
        return key.text

    async def someone(self, name: str, **about: Any) -> str:
        """The key of somebody new."""
        self.person(name, **about)
        return await self.key(name)

    async def rows(self, statement: LiteralString, *params: object) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as conn:
            cursor = await conn.execute(statement, params)
            return await cursor.fetchall() if cursor.description else []


def detail(answer: Answer) -> tuple[int, Any]:
    assert set(answer.json) == {"detail"}
    return answer.status, answer.json["detail"]


def places(answer: Answer) -> list[list[str]]:
    """Where a refused body does not fit."""
    status, problems = detail(answer)
    assert status == 422, answer.body
    return [each["loc"] for each in problems]


@asynccontextmanager
async def opened(dsn: str, keys: Path, catalog: Catalog, *, old: Nsid | None = None) -> AsyncIterator[Room]:
    """`old`: the collection that tracks were in before."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        pds = await stack.enter_async_context(RecordKeeper())
        seed = Seed(dsn, catalog)
        stack.callback(seed.close)
        ring, village = KeyRing(KeyFile(keys)), Neighbours(http)
        pools = [await stack.enter_async_context(make_pool(dsn, max_size=4, name="test")) for _ in range(2)]
        store = await stack.enter_async_context(CredentialStore(pools[0], ring, village))
        room = Room([], http, seed, pds, store, dsn)
        for pool in pools:
            reads = await stack.enter_async_context(make_reader(dsn, connections=2))
            sign_in = SignIn(
                SCOPE,
                catalog.definitions,
                FRONT,
                origin="http://127.0.0.1",
                collections=catalog.collections.own,
            )
            auth = await stack.enter_async_context(
                assembled(pool, reads, ring, village, sign_in, private=PRIVATE)
            )
            viewer_of = Viewers(Clients(), sessions=auth.sessions).of
            config = AppConfig(
                version="1.2.3",
                public_url="https://plyr.test",
                stats_ttl_s=0,
                viewer_of=viewer_of,
                guards=GuardConfig(origins=frozenset({FRONT})),
            )
            place = Place(
                pool=pool,
                store=FilesystemStore(keys.parent / "blobs"),
                queue=job_queue(),
                pds=auth.pds,
                catalog=catalog,
                public_url="https://plyr.test",
                scratch=keys.parent / "scratch",
                max_duration_s=7200,
            )
            routes = [
                Albums(
                    Shown(reads, place.public_url, catalog.collections, SoundOrigins([ANYWHERE])),
                    Asker(reads, auth.desk, viewer_of),
                ),
                Artists(auth.desk, place, reads),
                Migration(Actors(auth.desk, place), place, old),
                Playings(auth.desk, reads, FRONT, SoundOrigins([ANYWHERE])),
            ]
            app = build_app(reads, catalog, config, dsn=dsn, auth=auth, routes=routes)
            runner = make_runner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            room.urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        for server in range(2):
            while (await room.ask("GET", "/health", server=server)).status != 200:  # connections are opened
                await asyncio.sleep(0.05)
        yield room
