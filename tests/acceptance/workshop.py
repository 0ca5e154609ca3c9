"""A studio whose work is done by plyr's own programs, which may be killed and started again."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from bin.kinds import job_queue
from storage.blobs.collector import collect
from storage.blobs.store import Area, Key
from tests.acceptance.service import Program, until
from tests.acceptance.test_devnet_tracks import form
from tests.devnet.network import Account, Devnet
from tests.integration.media.order import in_order
from tests.integration.media.studio import ORIGIN, TRACK, Studio, studio
from tests.integration.media.test_killed import picture, sound
from tests.ports import free_port

_NONE = timedelta(0)


@dataclass
class Workshop:
    """`ann` is signed in there. `worker` and `web` are not started."""

    here: Studio
    ann: Account
    worker: Program
    web: Program
    url: str
    environ: dict[str, str]
    folder: Path

    async def start_web(self) -> None:
        """It answers."""
        await self.web.start()

        async def answers() -> bool:
            assert self.web.running, self.web.output()
            return await self.asks("GET", "/xrpc/_health") == 200

        await until(answers, 60, "the web process to be healthy")

    async def asks(self, method: str, path: str, **fields: str | bytes) -> int:
        """The status of the answer, 0: none came."""
        headers = {"Authorization": f"Bearer {self.here.tokens[self.ann.did]}"}
        data = form(**fields) if fields else None
        async with aiohttp.ClientSession(self.url, headers=headers) as http:
            try:
                async with http.request(method, path, data=data) as answer:
                    return answer.status
            except aiohttp.ClientConnectionError:
                return 0

    async def changes(self, track: int, title: str, seed: int) -> int:
        """The status of the answer to a change of everything that a form has."""
        words = {"title": title, "album": f"Days {seed}", "description": title, "tags": '["dusk"]'}
        return await self.asks("PATCH", f"/tracks/{track}", image=picture(seed), **words)

    async def made(self, seed: int, **more: str) -> tuple[int, str]:
        """The number and the key of a new track."""
        data, cover = sound(self.folder, seed), picture(1000 + seed)
        id = await self.here.wish(self.ann, data, title=f"Dawn {seed}", cover=cover, **more)
        await self.all_done()
        result = (await self.here.job(id)).result
        assert result is not None
        return result["trackId"], result["uri"].rpartition("/")[2]

    async def all_done(self) -> None:
        """All jobs have ended."""

        async def over() -> bool:
            assert self.worker.running, self.worker.output()
            return await self.here.one("select count(*) from job where finished_at is null") == 0

        await until(over, 120, "all jobs to end")

    async def much_later(self) -> None:
        """Whoever died has been silent for long."""
        async with self.here.pool.connection() as conn:
            await conn.execute(
                "update procrastinate.procrastinate_workers set last_heartbeat = now() - interval '1 minute'"
            )

    async def swept(self) -> None:
        """What the PDS has no more is not kept here either."""
        await self.here.one("update track_media set published_at = now() - interval '1 hour' returning 1")
        async with self.here.pool.connection() as conn:
            await job_queue().enqueue(conn, "tracks.sweep")
        await self.all_done()

    async def covers_stay(self) -> None:
        """Whatever the collector takes."""
        async with self.here.pool.connection() as conn:
            await collect(conn, self.here.store, grace=_NONE, keep=_NONE, now=datetime.now(UTC))
        for each in await self.here.net.list_records(self.ann, TRACK):
            image = each.value["imageUrl"].removeprefix(f"{ORIGIN}/image/")
            assert await self.here.store.stat(Key(Area.IMAGE, image)) is not None

    async def in_order(self) -> None:
        """Also as the operator's own command sees it."""
        await self.here.echoed(self.ann)
        await in_order(self.here, self.ann)
        assert list((self.folder / "scratch").glob("room-*")) == []
        async with Program("blobs audit", self.environ, self.folder / "audit.log") as audit:
            assert await audit.process.wait() == 0, audit.output()


@asynccontextmanager
async def workshop(net: Devnet, dsn: str, folder: Path, *, heavy_jobs: int) -> AsyncIterator[Workshop]:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(studio(net, dsn, folder))
        port = free_port()
        environ = net.service_settings() | {
            "PLYR_DATABASE_URL": dsn,
            "PLYR_DATA_DIR": str(folder),
            "PLYR_ENCRYPTION_KEYS": here.at.key,
            "PLYR_PUBLIC_URL": ORIGIN,
            "PLYR_PORT": str(port),
            "PLYR_HEAVY_JOBS": str(heavy_jobs),
        }
        ann = await net.account(f"a{secrets.token_hex(4)}")
        await here.sign_in(ann)
        await stack.enter_async_context(Program("ingest", environ, folder / "ingest.log"))
        worker, web = (Program(name, environ, folder / f"{name}.log") for name in ("worker", "web"))
        for program in (worker, web):
            stack.push_async_callback(_stopped, program)
        yield Workshop(here, ann, worker, web, f"http://127.0.0.1:{port}", environ, folder)


async def _stopped(program: Program) -> None:
    if program.starts:
        await program.stop()
