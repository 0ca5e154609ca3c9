"""Uploads on a devnet: people who are signed in, a store, and one who does jobs, all for real."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from appview.auth import scopes, secret
from appview.auth.credentials import CredentialStore
from appview.auth.keyring import GivenKeys, KeyRing, new_key
from appview.auth.metadata import loopback_app
from appview.auth.oauth import OAuthClient
from appview.jobs.attempt import Attempts
from appview.jobs.tasks import Task
from appview.media.attempt import Place
from appview.media.opus import OpusRenditions
from appview.moderation.scanning import Scanner, Scans
from appview.moderation.variants import Variants
from appview.pds import Pds
from appview.turns import Turns
from bin.kinds import job_queue
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import jobs, sessions, uploads
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Area, BlobStore, Key
from storage.jobs import Job, JobState
from storage.postgres import Connection, Pool, make_pool
from storage.sessions import Kind, NewSession
from storage.uploads import Part
from tests.devnet.network import Account, Devnet
from tests.devnet.person import Person

CATALOG = Catalog.load()
WISH = scopes.full("fm.plyr")
PUBLISHED = scopes.union(scopes.fallbacks(WISH, CATALOG.definitions))
TRACK = "fm.plyr.track"
ORIGIN = "http://127.0.0.1:8000"


@dataclass
class Worked:
    """One attempt at a job that nobody ends or undoes: the worker is gone with it."""

    pool: Pool
    job: Job

    async def report(self, phase: str, message: str, progress: float | None = None) -> None:
        async with self.pool.connection() as conn:
            await jobs.report(conn, self.job.id, phase, message, progress)

    async def save(
        self, facts: Mapping[str, Any], *, warnings: Sequence[str] = (), conn: Connection | None = None
    ) -> None:
        if conn is None:
            async with self.pool.connection() as conn, conn.transaction():
                await self.save(facts, warnings=warnings, conn=conn)
            return
        assert await jobs.save(conn, self.job.id, facts, warnings=warnings)
        found = await jobs.get(conn, self.job.id)
        assert found is not None
        self.job = found


@dataclass
class Studio:
    """`place` is what tasks are made with."""

    net: Devnet
    pool: Pool
    store: BlobStore
    credentials: CredentialStore
    oauth: OAuthClient
    place: Place
    at: Premises
    sessions: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    async def sign_in(self, account: Account) -> int:
        """A session with a grant of the account's own PDS, which whoever has its token may use."""
        url, flow = await self.oauth.begin(account.handle, WISH)
        async with Person(account) as person:
            granted = await self.oauth.finish(flow, await person.consent(url))
        token = secret.Key(secret.fresh())
        new = NewSession(
            Kind.TOKEN,
            granted.did,
            granted.handle,
            granted.credentials.scope,
            granted.credentials.issuer,
            self.credentials.sealed(granted.credentials),
            None,
            token_hash=token.digest,
            prefix=token.prefix,
        )
        async with self.pool.connection() as conn:
            self.sessions[account.did] = await sessions.add(conn, new)
        self.tokens[account.did] = token.text
        return self.sessions[account.did]

    async def stage(self, did: str, data: bytes) -> dict[str, Any]:
        """Bytes as they were received, and what is told of them in the job's arguments."""
        name = uuid.uuid4().hex
        async with self.pool.connection() as conn:
            await uploads.begin(conn, name, did=Did(did), part=Part.SOUND, bytes=len(data))
        digest = await self.store.stage(name, _one(data))
        return {"name": name, "sha256": digest.sha256, "crc32": digest.crc32, "bytes": digest.size}

    async def wish(
        self, account: Account, data: bytes, kind: str = "upload", *, cover: bytes | None = None, **more: Any
    ) -> UUID:
        """A job, not begun, with its place in the queue."""
        args = await self.stage(account.did, data) | {"session": self.sessions[account.did]} | more
        if cover is not None:
            args["cover"] = await self.stage(account.did, cover)
        async with self.pool.connection() as conn:
            id = await job_queue().enqueue(conn, kind, did=account.did, subject=str(args["name"]), args=args)
        assert id is not None
        return id

    async def attempt(self, id: UUID) -> Worked:
        async with self.pool.connection() as conn:
            job = await jobs.begin(conn, id)
        assert job is not None
        return Worked(self.pool, job)

    async def work(self, task: Task, id: UUID) -> Job:
        """The job once it has ended, as a worker ends it; nobody waits before another attempt."""
        attempts = Attempts(self.pool, [task])
        while not (job := await self.job(id)).finished:
            await attempts.make(id)
        return job

    async def work_later(self) -> None:
        """Everything that was left for later is done."""
        queue = self.place.queue
        opus, _ = OpusRenditions(self.pool, self.store, queue, self.place.scratch).tasks
        scan, _ = Scans(
            self.pool, Scanner(self.pool, None, str, Variants(self.store, self.place.scratch)), queue
        ).tasks
        for task in (opus, scan):
            async with self.pool.connection() as conn:
                found = await jobs.listed(conn, kind=task.kind, limit=999)
            for id in [job.id for job in found if not job.finished]:
                assert (await self.work(task, id)).state is JobState.DONE

    async def cancel(self, task: Task, id: UUID) -> Job:
        """Its owner changed their mind."""
        async with self.pool.connection() as conn:
            assert await jobs.ask_to_end(conn, id)
        return await self.work(task, id)

    async def job(self, id: UUID) -> Job:
        async with self.pool.connection() as conn:
            found = await jobs.get(conn, id)
        assert found is not None
        return found

    async def one(self, query: str, *params: object) -> Any:
        async with self.pool.connection() as conn:
            row = await (await conn.execute(query, params)).fetchone()  # type: ignore[arg-type]
        return None if row is None else row[0] if len(row) == 1 else row

    async def echoed(self, *people: Account) -> None:
        """Wait until the firehose has proven what the index holds, and it is what is on the PDSs."""
        async with asyncio.timeout(60):
            while await self.one("select count(*) from record where not verified"):
                await asyncio.sleep(0.1)
        for person in people:
            listed = {each.uri: (each.cid, each.value) for each in await self.net.list_records(person, TRACK)}
            async with asyncio.timeout(60):
                while await self._shown(person) != listed:
                    await asyncio.sleep(0.1)

    async def _shown(self, person: Account) -> dict[str, Any]:
        async with self.pool.connection() as conn:
            rows = await (
                await conn.execute(
                    "select card from track t join repo r on r.id = t.repo_id where r.did = %s", [person.did]
                )
            ).fetchall()
        cards = [orjson.loads("{" + card + "}") for (card,) in rows]
        return {card["uri"]: (card["cid"], card["record"]) for card in cards if card["verified"]}

    async def bytes_of(self, record: Mapping[str, Any]) -> bytes:
        """What a track's record says is played."""
        key = Key(Area.AUDIO, record["audioUrl"].removeprefix(f"{ORIGIN}/audio/"))
        return b"".join([chunk async for chunk in self.store.read(key)])

    async def sound_of(self, record: Mapping[str, Any]) -> Path:
        """The file that a track's record says is played."""
        url, _, file_id = record["audioUrl"].rpartition("/")
        assert url == f"{ORIGIN}/audio"
        path = self.store.path(Key(Area.AUDIO, file_id))
        assert path is not None
        assert path.exists()
        return path

    async def record(self, uri: str) -> Any:
        """The record as the index has it, in JSON."""
        card = await self.one("select card from track t join track_uri u using (id) where u.uri = %s", uri)
        return None if card is None else orjson.loads("{" + card + "}")


@dataclass(frozen=True)
class Premises:
    """Where a studio is, in words that another process understands. `key`: for what is sealed."""

    dsn: str
    folder: str
    plc_url: str
    handle_resolver: str
    key: str


@asynccontextmanager
async def furnished(
    at: Premises, pool: Pool, store: BlobStore
) -> AsyncIterator[tuple[Place, CredentialStore, OAuthClient]]:
    """What tasks are made with, and what signing in is."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(GuardedClient(allow_loopback=True))
        identities = IdentityResolver(http, at.plc_url, handle_resolvers=[at.handle_resolver])
        oauth = OAuthClient(loopback_app(8000, PUBLISHED, name="plyr"), http, identities, CATALOG.definitions)
        ring = KeyRing(GivenKeys([at.key]))
        credentials = await stack.enter_async_context(CredentialStore(pool, ring, oauth))
        place = Place(
            pool=pool,
            store=store,
            queue=job_queue(),
            pds=Pds(credentials, oauth),
            catalog=CATALOG,
            public_url=ORIGIN,
            scratch=Path(at.folder) / "scratch",
            max_duration_s=7200,
            turns=Turns(lease_s=1, wait_s=3),
        )
        yield place, credentials, oauth


@asynccontextmanager
async def studio(
    net: Devnet, dsn: str, folder: Path, store: BlobStore | None = None
) -> AsyncIterator[Studio]:
    at = Premises(dsn, str(folder), net.plc_url, net.control_url, new_key())
    store = store or FilesystemStore(folder / "blobs")
    async with (
        make_pool(dsn, max_size=8, name="test") as pool,
        furnished(at, pool, store) as (place, credentials, oauth),
    ):
        yield Studio(net, pool, store, credentials, oauth, place, at)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


def did_of(account: Account) -> Did:
    return Did(account.did)
