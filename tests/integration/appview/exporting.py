"""A server with exports, people with tracks of real records and real files, and who makes their exports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import aiohttp
from aiohttp import web

from appview.app import build_app, make_reader
from appview.auth import secret
from appview.auth.assembly import Auth, assembled
from appview.auth.desk import SignIn
from appview.auth.keyring import GivenKeys, KeyRing, new_key
from appview.auth.secret import Key
from appview.jobs.attempt import Attempts
from appview.jobs.tasks import Task
from appview.jobs.watch import JobWatch
from appview.media.export import Exporter
from appview.media.signed import Links
from appview.protocol import make_runner
from appview.rest.exports import Exports
from appview.service import AppConfig
from bin.kinds import job_queue
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import exports, jobs, sessions
from storage.blobs import rows
from storage.blobs.store import Area, BlobStore
from storage.jobs import Job
from storage.postgres import Pool, make_pool
from storage.sessions import Kind, NewSession
from tests.fakenet.repo import FakeRepo
from tests.integration.appview.auth.signing import SCOPE, Village
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import Answer
from tests.integration.appview.sounds import keep

TRACK = "fm.plyr.track"
KEEP_DAYS = 7.0


@dataclass
class Archive:
    """The server at `url`, and what lies behind it. `now`: what its clock says."""

    url: str
    http: aiohttp.ClientSession
    pool: Pool
    store: BlobStore
    seed: Seed
    auth: Auth
    repos: dict[str, FakeRepo]
    now: list[float]

    @property
    def exporter(self) -> Exporter:
        return Exporter(self.pool, self.store, keep_days=KEEP_DAYS)

    async def request(self, method: str, path: str, key: str | None = None, **headers: str) -> Answer:
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
        async with self.http.request(
            method, self.url + path, headers=headers, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    def person(self, name: str) -> Did:
        """An account with a repo of its own."""
        id = self.seed.account(name)
        did = self.seed.dids[id]
        self.repos[did] = FakeRepo(did, seed=name)
        self.seed.commit()
        return did

    async def key(self, did: Did) -> str:
        """A token of theirs."""
        key = Key(secret.fresh())
        new = NewSession(
            Kind.MINTED, did, None, SCOPE, None, None, None, token_hash=key.digest, prefix=key.prefix
        )
        async with self.pool.connection() as conn:
            await sessions.add(conn, new)
        return key.text

    async def track(
        self,
        did: Did,
        title: str,
        data: bytes | None,
        *,
        mime: str = "audio/flac",
        area: Area = Area.AUDIO,
        original: bool = True,
        proof: bool = True,
    ) -> str:
        """The URI of a track whose file has these bytes; without any its sound is elsewhere."""
        conn = self.seed.conn
        (id,) = (number for number, each in self.seed.dids.items() if each == did)
        uri = self.seed.track(id, title)
        rkey = uri.rpartition("/")[2]
        repo = self.repos[did]
        body = repo.write([("create", TRACK, rkey, {"$type": TRACK, "title": title, "n": 2**60})])
        block = repo.blocks[dict(repo.listing())[f"{TRACK}/{rkey}"]]
        conn.execute(
            "insert into record (repo_id, collection, rkey, rev, cid, block, verified)"
            " values (%s, %s, %s, %s, 'bafy', %s, true)",
            (id, TRACK, rkey, repo.rev, block),
        )
        if proof:
            conn.execute(
                "insert into commit_proof (repo_id, rev, car) values (%s, %s, %s)",
                (id, repo.rev, body["blocks"]),
            )
        self.seed.commit()
        if data is not None:
            owner = f"{did}/{rkey}"
            blob = await keep(self.dsn, self.store, data, area=area, mime=mime, owner=owner)
            conn.execute(
                "insert into track_media (did, rkey, original_id, stream_id, published_at)"
                " values (%s, %s, %s, %s, now())",
                (did, rkey, blob.id if original else None, blob.id),
            )
            self.seed.commit()
        return uri

    @property
    def dsn(self) -> str:
        return self.pool.conninfo if isinstance(self.pool.conninfo, str) else ""

    async def work(self, id: UUID, *tasks: Task) -> Job:
        """The job after an attempt at it."""
        await Attempts(self.pool, tasks or self.exporter.tasks).make(id)
        return await self.job(id)

    async def job(self, id: UUID) -> Job:
        async with self.pool.connection() as conn:
            job = await jobs.get(conn, id)
        assert job is not None
        return job

    async def owned(self, id: UUID) -> set[int]:
        async with self.pool.connection() as conn:
            return {each.id for each in await rows.owned(conn, kind=exports.OWNER, owner=str(id))}


@asynccontextmanager
async def archive(dsn: str, catalog: Catalog, store: BlobStore) -> AsyncIterator[Archive]:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(make_pool(dsn, max_size=4, name="test"))
        reads = await stack.enter_async_context(make_reader(dsn, connections=1))
        ring, now = KeyRing(GivenKeys([new_key()])), [1_790_000_000.0]
        config = SignIn(
            SCOPE, catalog.definitions, None, origin="https://plyr.test", collections=catalog.collections.own
        )
        auth = await stack.enter_async_context(assembled(pool, reads, ring, Village(), config))
        links = Links(ring, lambda: now[0])
        routes = Exports(
            auth.desk, job_queue(), JobWatch(dsn, pool), store, links, link_s=600, clock=lambda: now[0]
        )
        app = build_app(reads, catalog, AppConfig(version="1.2.3"), auth=auth, exports=routes)
        runner = make_runner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        http = await stack.enter_async_context(aiohttp.ClientSession())
        seed = Seed(dsn, catalog)
        stack.callback(seed.close)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield Archive(url, http, pool, store, seed, auth, {}, now)
