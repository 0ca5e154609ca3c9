"""People who say things about each other's tracks: their PDS, the application, and the index behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import aiohttp
import psycopg
from aiohttp import web

from appview.app import build_app, make_reader
from appview.auth import dpop, scopes, secret
from appview.auth.assembly import assembled
from appview.auth.credentials import CredentialStore
from appview.auth.desk import SignIn
from appview.auth.grant import Credentials, Refusal, SignInFailed
from appview.auth.keyring import KeyFile, KeyRing
from appview.auth.oauth import PdsAnswer
from appview.auth.secret import Key
from appview.auth.viewers import Viewers
from appview.clients import Clients
from appview.media.attempt import Place
from appview.protocol import make_runner
from appview.rest.actors import Actors
from appview.rest.comments import Comments
from appview.rest.likes import Likes
from appview.rest.restoring import Restoring
from appview.service import AppConfig
from appview.sound_origins import ANYWHERE, SoundOrigins
from appview.turns import Turns
from bin.kinds import job_queue
from firehose.events import Event
from indexer.apply import apply_batch
from indexer.prepare import prepare
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import preferences, sessions
from storage.blobs.filesystem import FilesystemStore
from storage.postgres import make_pool
from storage.reader import Reads
from storage.sessions import Kind, NewSession
from tests.fakenet.home import HomePds
from tests.fakenet.world import TRACK, Author, track
from tests.integration.appview.auth.signing import Village, bearer
from tests.integration.appview.service import Answer

CATALOG = Catalog.load()
SCOPE = scopes.full("fm.plyr")
RELAY = "wss://relay.example"
RKEY = "3mpt222222222"


class Post(Village):
    """An OAuth client that shows a PDS the token that it holds."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        super().__init__()
        self._http = http

    async def call_pds(
        self, credentials: Credentials, method: str, nsid: str, **sent: Any
    ) -> tuple[PdsAnswer, Credentials]:
        url = f"{credentials.pds}/xrpc/{nsid}"
        headers = {"Authorization": f"DPoP {credentials.access_token}"}
        timeout = aiohttp.ClientTimeout(total=1)
        try:
            async with self._http.request(
                method,
                url,
                params=sent.get("params"),
                data=sent.get("body"),
                headers=headers,
                timeout=timeout,
            ) as answer:
                return PdsAnswer(answer.status, answer.headers, await answer.read(), False), credentials
        except (aiohttp.ClientError, TimeoutError):
            raise SignInFailed(Refusal.UNREACHABLE) from None

    async def refresh(self, credentials: Credentials) -> Credentials:
        raise SignInFailed(Refusal.GRANT_GONE)


@dataclass
class Square:
    """`urls` of servers on one database. Ana has a track; `keys` are those of people who signed in."""

    urls: list[str]
    dsn: str
    pds: HomePds
    ring: KeyRing
    http: aiohttp.ClientSession
    ana: Author = field(init=False)
    track_id: int = 0
    keys: dict[Did, str] = field(default_factory=dict[Did, str])

    async def ask(
        self, method: str, path: str, who: Did | None = None, *, at: int = 0, **options: Any
    ) -> Answer:
        headers = options.pop("headers", {}) | (bearer(self.keys[who]) if who else {})
        url = self.urls[at % len(self.urls)] + path
        async with self.http.request(
            method, url, headers=headers, allow_redirects=False, **options
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def like(self, who: Did, *, at: int = 0) -> Answer:
        return await self.ask("POST", f"/tracks/{self.track_id}/like", who, at=at)

    async def unlike(self, who: Did, *, at: int = 0) -> Answer:
        return await self.ask("DELETE", f"/tracks/{self.track_id}/like", who, at=at)

    async def comment(self, who: Did, text: str = "here", timestamp_ms: int = 0, *, at: int = 0) -> Answer:
        path, body = f"/tracks/{self.track_id}/comments", {"text": text, "timestamp_ms": timestamp_ms}
        return await self.ask("POST", path, who, at=at, json=body)

    async def comments(self) -> Any:
        answer = await self.ask("GET", f"/tracks/{self.track_id}/comments")
        assert answer.status == 200, answer.body
        return answer.json

    async def rows(self, statement: LiteralString, *params: object) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as conn:
            cursor = await conn.execute(statement, params)
            return await cursor.fetchall() if cursor.description else []

    async def counted(self) -> tuple[int, int]:
        """Likes and comments of Ana's track, where the counters are what a recount gives."""
        [kept] = await self.rows("select likes, comments from track_stat where id = %s", self.track_id)
        [found] = await self.rows(
            'select (select count(distinct repo_id) from "like" where track_id = %s)::int,'
            " (select count(*) from comment where track_id = %s)::int",
            self.track_id,
            self.track_id,
        )
        assert kept == found
        return kept

    async def echo(self, *events: Event) -> None:
        """What the firehose brings."""
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as conn:
            identities = [person.identity for person in self.pds.people.values()]
            await apply_batch(
                conn, prepare(events, CATALOG), catalog=CATALOG, source=RELAY, seq=None, identities=identities
            )

    async def echoes(self, dids: Iterable[Did]) -> None:
        for did in dids:
            await self.echo(*self.pds.commits[did])

    async def person(self, name: str, *, scope: str = SCOPE) -> Did:
        """Somebody who has just signed in, and is not in the index."""
        did = self.pds.settle(name).did
        self.keys[did] = await self.sign_in(did, scope=scope)
        return did

    async def sign_in(self, did: Did, *, scope: str = SCOPE) -> str:
        credentials = Credentials(
            did=did,
            access_token=did,
            refresh_token=f"refresh-{did}",
            dpop_key=dpop.make_key(),
            issuer=self.pds.url,
            pds=self.pds.url,
            scope=scope,
        )
        key = Key(secret.fresh())
        async with (
            make_pool(self.dsn, max_size=1, name="test") as pool,
            CredentialStore(pool, self.ring, Post(self.http)) as store,
            pool.connection() as conn,
        ):
            new = NewSession(
                kind=Kind.TOKEN,
                did=did,
                handle=f"{did[-6:]}.test",
                scope=scope,
                issuer=credentials.issuer,
                credentials=store.sealed(credentials),
                life_s=3600,
                token_hash=key.digest,
                prefix=key.prefix,
            )
            await sessions.add(conn, new)
        return key.text

    async def begin(self) -> None:
        """Ana publishes a track, by another app, and wants to hear about it."""
        self.ana = self.pds.settle("ana")
        await self.echo(self.pds.write(self.ana.did, "create", TRACK, RKEY, track("One")))
        [(self.track_id,)] = await self.rows("select id from track")
        self.keys[self.ana.did] = await self.sign_in(self.ana.did)
        await self.let_comment(self.ana.did)

    async def let_comment(self, did: Did, allow: bool = True) -> None:
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as conn:
            await preferences.put(conn, did, {"allow_comments": allow}, {})


More = Callable[[Reads, Actors, Place], list[Any]]


@asynccontextmanager
async def squared(
    dsn: str, folder: Path, *, turns: Turns | None = None, more: More | None = None, servers: int = 1
) -> AsyncIterator[Square]:
    """Servers in this process that share nothing but what lies behind them; `more` are further routes."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        pds = await enter(HomePds())
        http = await enter(aiohttp.ClientSession())
        ring = KeyRing(KeyFile(folder / "keys"))
        urls = [
            await enter(_served(dsn, folder, Post(http), ring, turns or Turns(), more))
            for _ in range(servers)
        ]
        square = Square(urls, dsn, pds, ring, http)
        await square.begin()
        yield square


@asynccontextmanager
async def _served(
    dsn: str, folder: Path, post: Post, ring: KeyRing, turns: Turns, more: More | None
) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        pool = await enter(make_pool(dsn, max_size=4, name="test"))
        reads = await enter(make_reader(dsn, connections=1))
        own = CATALOG.collections.own
        sign_in = SignIn(
            SCOPE, CATALOG.definitions, "https://front.test", origin="http://127.0.0.1", collections=own
        )
        auth = await enter(assembled(pool, reads, ring, post, sign_in))
        place = Place(
            pool=pool,
            store=FilesystemStore(folder / "blobs"),
            queue=job_queue(),
            pds=auth.pds,
            catalog=CATALOG,
            public_url="http://127.0.0.1",
            scratch=folder / "scratch",
            max_duration_s=60,
            turns=turns,
        )
        actors = Actors(auth.desk, place)
        routes: list[Any] = [
            Likes(actors, place),
            Comments(actors, place, reads),
            Restoring(actors, place, reads, SoundOrigins([ANYWHERE])),
        ]
        if more is not None:
            routes += more(reads, actors, place)
        config = AppConfig(
            version="1.2.3", viewer_of=Viewers(Clients(), services=None, sessions=auth.sessions).of
        )
        runner = make_runner(build_app(reads, CATALOG, config, auth=auth, routes=routes))
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
