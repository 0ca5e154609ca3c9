"""A house whose tracks are scanned: AuDD is a server on a port, which fetches them from ours."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appview.auth.keyring import GivenKeys, KeyRing, new_key
from appview.jobs.attempt import Attempts
from appview.media.serve import ALONE
from appview.media.signed import Links
from appview.moderation.audd import Audd
from appview.moderation.scanning import KIND, SWEEP, Flagged, Outcome, Scanner, Scans
from appview.moderation.variants import Variants
from appview.rest.media import Media
from appview.sound_origins import ANYWHERE, SoundOrigins
from bin.kinds import job_queue
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Rkey
from storage import jobs, scans
from storage.blobs.filesystem import FilesystemStore
from storage.jobs import Job
from storage.postgres import Connection, Pool, make_pool
from storage.reader import Reads
from storage.scans import Scan
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import served
from tests.integration.appview.sounds import keep, owner_of
from tests.integration.moderation.asked import TOKEN, Asked, asked

LENGTH_S = 180


@dataclass
class House:
    """`flagged`: what `on_flag` was given; `refuses`: what it raises."""

    dsn: str
    url: str
    seed: Seed
    pool: Pool
    store: FilesystemStore
    scratch: Path
    http: GuardedClient
    audd: Asked
    flagged: list[Flagged] = field(default_factory=list[Flagged])
    refuses: Exception | None = None

    async def on_flag(self, conn: Connection, flagged: Flagged) -> None:
        self.flagged.append(flagged)
        if self.refuses is not None:
            raise self.refuses

    def scanner(self, *, off: bool = False) -> Scanner:
        client = None if off else Audd(self.http, self.audd.url, TOKEN, timeout_s=10)
        return Scanner(
            self.pool,
            client,
            lambda sha256: f"{self.url}/audio/{sha256}",
            Variants(self.store, self.scratch),
            off="no token",
            on_flag=self.on_flag,
        )

    async def scan(self, uri: str, *, off: bool = False) -> Outcome:
        return await self.scanner(off=off).scan(*named(uri))

    async def play(
        self, uri: str, data: bytes, *, length_s: float = LENGTH_S, heard: bytes | None = None
    ) -> None:
        """A track plays these bytes from now on; `heard` is their fingerprint."""
        blob = await keep(self.dsn, self.store, data, owner=owner_of(uri))
        did, rkey = named(uri)
        self.seed.conn.execute(
            "insert into track_media (did, rkey, stream_id, published_at) values (%s, %s, %s, now())"
            " on conflict (did, rkey) do update set stream_id = excluded.stream_id",
            (did, rkey, blob.id),
        )
        self.seed.conn.execute(
            "insert into sound (blob_id, format, codec, rate, channels, duration_s, playable, fingerprint)"
            " values (%s, 'mp3', 'mp3', 44100, 2, %s, true, %s) on conflict do nothing",
            (blob.id, length_s, heard),
        )
        self.seed.commit()

    async def of(self, uri: str, data: bytes) -> Scan | None:
        async with self.pool.connection() as conn:
            return await scans.get(conn, *named(uri), hashlib.sha256(data).hexdigest())

    async def rows(self, query: Any, *params: object) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as conn:
            cursor = await conn.execute(query, params)
            return await cursor.fetchall() if cursor.description else []

    async def sweep(self, *, off: bool = False) -> Job:
        attempts = Attempts(self.pool, Scans(self.pool, self.scanner(off=off), job_queue()).tasks)
        async with self.pool.connection() as conn:
            id = await job_queue().enqueue(conn, SWEEP, subject=SWEEP)
            assert id is not None
        await attempts.make(id)
        return await self.job(id)

    async def work(self, *, off: bool = False) -> list[Job]:
        """An attempt at each scan that waits."""
        attempts = Attempts(self.pool, Scans(self.pool, self.scanner(off=off), job_queue()).tasks)
        found = await self.rows("select id from job where kind = %s and finished_at is null", KIND)
        for (id,) in found:
            await attempts.make(id)
        return [await self.job(id) for (id,) in found]

    async def job(self, id: Any) -> Job:
        async with self.pool.connection() as conn:
            found = await jobs.get(conn, id)
        assert found is not None
        return found


def named(uri: str) -> tuple[Did, Rkey]:
    did, rkey = owner_of(uri).split("/")
    return Did(did), Rkey(rkey)


@asynccontextmanager
async def housed(database: str, folder: Path) -> AsyncIterator[House]:
    catalog = Catalog.load()
    store, seed = FilesystemStore(folder / "blobs"), Seed(database, catalog)

    def parts(reads: Reads) -> dict[str, object]:
        return {
            "media": Media(
                reads, store, Links(KeyRing(GivenKeys([new_key()]))), ALONE, SoundOrigins([ANYWHERE])
            )
        }

    try:
        async with (
            served(database, catalog, parts=parts) as server,
            make_pool(database, max_size=2, name="test") as pool,
            GuardedClient(True) as http,
            asked() as audd,
        ):
            yield House(database, server.url, seed, pool, store, folder / "scratch", http, audd)
    finally:
        seed.close()
