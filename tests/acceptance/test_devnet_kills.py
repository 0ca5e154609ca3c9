"""kill -9 of `plyr worker` and `plyr web`, as people run them, at the commits that a track comes to in its
life: whoever comes after them ends what they had begun, once, or it is as if it had never been begun."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bin.kinds import job_queue
from storage.blobs.collector import collect
from storage.blobs.store import Area, Key
from tests.acceptance.service import Program, until
from tests.acceptance.stops import Stop, stops_in
from tests.acceptance.test_devnet_tracks import form
from tests.devnet.network import Account, Devnet
from tests.integration.media.order import in_order
from tests.integration.media.studio import ORIGIN, TRACK, Studio, studio
from tests.integration.media.test_killed import picture, sound, titles
from tests.ports import free_port

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

NONE = timedelta(0)
AT_ONCE = 4  # each that is held has a connection of the worker's, or two


def _step(name: str, *, kept: bool) -> Stop:
    saved = f"new.facts ->> 'step' = '{name}' and old.facts ->> 'step' is distinct from '{name}'"
    return Stop("update on job", saved, kept)


def _reserved(which: str) -> Stop:
    return Stop("insert on blob", f"new.{which}", kept=True)


def _published(which: str) -> Stop:
    return Stop("update on blob", f"new.{which} and old.state = 'publishing'", kept=False)


ORIGINAL, IMAGE, STREAM = "area = 'private'", "area = 'image'", "mime = 'audio/mpeg'"

# In the order in which an upload comes to them, in a line those of jobs that are killed together. Kept: what
# follows outside of the database is not begun. Lost: what went before, on a disk or a PDS, is done.
MAKING = [
    [
        Stop("update on job", "new.attempts > old.attempts and new.kind = 'upload'", kept=True),
        _step("probe", kept=False),
        _reserved(ORIGINAL),
        _published(ORIGINAL),
    ],
    [_step("store", kept=False), _step("claim", kept=True), _reserved(IMAGE), _published(IMAGE)],
    [_step("cover", kept=True), _reserved(STREAM), _published(STREAM), _step("render", kept=True)],
    [_step("listen", kept=False), _step("offer", kept=False), _step("record", kept=False)],
    [
        _step("record", kept=True),
        Stop(
            "update on job", "new.state = 'done' and old.state <> 'done' and new.kind = 'upload'", kept=False
        ),
        Stop("delete on procrastinate.procrastinate_jobs", "old.queue_name = 'heavy'", kept=False),
    ],
]

# What requests come to.
SOUND_COMES = Stop("insert on staged_upload", "new.part = 'sound'", kept=True)
COVER_COMES = Stop("insert on staged_upload", "new.part = 'cover'", kept=True)
NOT_QUEUED = Stop("insert on job", "new.kind = 'upload'", kept=False)
QUEUED = Stop("insert on job", "new.kind = 'upload'", kept=True)
DRAWN = Stop("insert on image_rendition", "true", kept=False)
OWNED = Stop("insert on blob_owner", "new.kind = 'track'", kept=False)
TURN = Stop("insert on write_turn", "true", kept=True)
_RECOVERED = "new.cover_id is distinct from old.cover_id"
WRITTEN = Stop("update on track_media", _RECOVERED, kept=False)
INDEXED = Stop("update on track_media", _RECOVERED, kept=True)
GONE_THERE = Stop("delete on track_media", "true", kept=False)
GONE = Stop("delete on track_media", "true", kept=True)

# Who is killed together: whoever is to come furthest is sent first, and what it holds there nobody behind it
# comes to.
REQUESTS: list[list[tuple[str, Stop]]] = [
    [("edit", WRITTEN), ("edit", OWNED), ("send", COVER_COMES)],
    [("edit", INDEXED), ("edit", DRAWN), ("send", NOT_QUEUED)],
    [("delete", GONE_THERE), ("edit", TURN), ("send", QUEUED)],
    [("delete", GONE), ("edit", _published(IMAGE)), ("edit", _reserved(IMAGE)), ("send", SOUND_COMES)],
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(devnet_packages: Path) -> AsyncIterator[Devnet]:
    async with Devnet(pds=1) as net:
        yield net


@dataclass
class House:
    """A studio whose work is done by plyr's own processes; `ann` is signed in there."""

    here: Studio
    ann: Account
    worker: Program
    web: Program
    url: str
    environ: dict[str, str]
    folder: Path

    async def quiet(self) -> None:
        """All jobs have ended."""

        async def over() -> bool:
            assert self.worker.running, self.worker.output()
            return await self.here.one("select count(*) from job where finished_at is null") == 0

        await until(over, 60, "all jobs to end")

    async def silence(self) -> None:
        """The dead have said nothing for long."""
        await self.here.one(
            "update procrastinate.procrastinate_workers set last_heartbeat = now() - interval '1 minute'"
            " returning 1"
        )

    async def start_web(self) -> None:
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

    async def made(self, seed: int) -> int:
        """The number of a new track."""
        data, cover = sound(self.folder, seed), picture(1000 + seed)
        id = await self.here.wish(self.ann, data, title=f"Dawn {seed}", cover=cover)
        await self.quiet()
        result = (await self.here.job(id)).result
        assert result is not None
        return result["trackId"]

    async def changes(self, track: int, title: str, seed: int) -> int:
        """The status of the answer to a change of everything that a form has."""
        words = {"title": title, "album": f"Days {seed}", "description": title, "tags": '["dusk"]'}
        return await self.asks("PATCH", f"/tracks/{track}", image=picture(seed), **words)

    async def covers_are_there(self) -> None:
        """Whatever the collector takes."""
        async with self.here.pool.connection() as conn:
            await collect(conn, self.here.store, grace=NONE, keep=NONE, now=datetime.now(UTC))
        for each in await self.here.net.list_records(self.ann, TRACK):
            image = each.value["imageUrl"].removeprefix(f"{ORIGIN}/image/")
            assert await self.here.store.stat(Key(Area.IMAGE, image)) is not None

    async def much_later(self) -> None:
        """The turns of the dead are over, and what was deleted elsewhere is swept."""
        await self.here.one("update write_turn set held_until = now() returning 1")
        await self.here.one("update track_media set published_at = now() - interval '1 hour' returning 1")
        async with self.here.pool.connection() as conn:
            await job_queue().enqueue(conn, "tracks.sweep")
        await self.quiet()

    async def in_order(self) -> None:
        """Also as the operator's own command sees it."""
        await self.here.echoed(self.ann)
        await in_order(self.here, self.ann)
        async with Program("blobs audit", self.environ, self.folder / "audit.log") as audit:
            assert await audit.process.wait() == 0, audit.output()


@pytest_asyncio.fixture(loop_scope="module")
async def house(net: Devnet, database: str, tmp_path: Path) -> AsyncIterator[House]:
    async with studio(net, database, tmp_path) as here:
        port = free_port()
        environ = net.service_settings() | {
            "PLYR_DATABASE_URL": database,
            "PLYR_DATA_DIR": str(tmp_path),
            "PLYR_ENCRYPTION_KEYS": here.at.key,
            "PLYR_PUBLIC_URL": ORIGIN,
            "PLYR_PORT": str(port),
            "PLYR_HEAVY_JOBS": str(AT_ONCE),
        }
        ann = await net.account(f"a{secrets.token_hex(4)}")
        await here.sign_in(ann)
        worker, web = (Program(name, environ, tmp_path / f"{name}.log") for name in ("worker", "web"))
        house = House(here, ann, worker, web, f"http://127.0.0.1:{port}", environ, tmp_path)
        try:
            async with Program("ingest", environ, tmp_path / "ingest.log"):
                yield house
        finally:
            for program in (worker, web):
                if program.starts:
                    await program.stop()


async def test_a_worker_that_is_killed_at_any_step_of_an_upload_is_followed_by_one_that_ends_it(
    house: House, database: str, tmp_path: Path
) -> None:
    here, ids = house.here, list[Any]()
    async with stops_in(database, [stop for stops in MAKING for stop in stops]) as held:
        for stops in MAKING:
            await house.worker.start()
            await house.quiet()
            for stop in reversed(stops):
                await held.hold(stop)
                title = f"Dawn {len(ids):03}"
                wish = here.wish(house.ann, sound(tmp_path, len(ids)), title=title, cover=picture(len(ids)))
                ids.append(await wish)
                await held.caught(stop)
            await house.worker.kill()
            await held.settle()
            await house.silence()
    await house.worker.start()
    await house.quiet()
    assert await here.one("select count(*) from job where state <> 'done'") == 0
    # One had only its ticket left, and is not begun again.
    again = await here.one("select count(*) from job where kind = 'upload' and attempts = 2")
    assert again == len(ids) - 1
    assert await titles(here, house.ann) == [f"Dawn {n:03}" for n in range(len(ids))]
    await house.in_order()


async def test_a_server_that_is_killed_with_requests_in_hand_leaves_what_was_said_or_nothing(
    house: House, database: str, tmp_path: Path
) -> None:
    here, ann = house.here, house.ann
    await house.worker.start()
    changed, deleted = [await house.made(n) for n in range(3)], [await house.made(n) for n in range(3, 5)]
    says = {track: f"Dawn {n}" for n, track in enumerate(changed)}
    left = {track: f"Dawn {n}" for n, track in enumerate(deleted, start=3)}
    sent = list[str]()
    stops = dict.fromkeys(stop for requests in REQUESTS for _, stop in requests)
    async with stops_in(database, list(stops)) as held:
        for n, requests in enumerate(REQUESTS):
            await house.start_web()
            asking = list[asyncio.Task[int]]()
            for m, (what, stop) in enumerate(requests):
                title, seed = f"Dusk {n} {m}", 10 * n + m
                if what == "edit":
                    ask = house.changes(changed[m], title, seed)
                    if stop in (WRITTEN, INDEXED):
                        says[changed[m]] = title
                elif what == "delete":
                    track, _ = left.popitem()
                    ask = house.asks("DELETE", f"/tracks/{track}")
                else:
                    file = sound(tmp_path, 100 + seed)
                    ask = house.asks("POST", "/tracks/", title=title, file=file, image=picture(seed))
                    if stop is QUEUED:
                        sent.append(title)
                await held.hold(stop)
                asking.append(asyncio.create_task(ask))
                await held.caught(stop)
            await house.web.kill()
            await held.settle()
            assert await asyncio.gather(*asking) == [0] * len(asking)
            await house.quiet()
            await here.echoed(ann)
            assert await titles(here, ann) == sorted([*says.values(), *left.values(), *sent])
            await house.covers_are_there()
    assert (len(left), len(sent)) == (0, 1)
    await house.much_later()
    await house.start_web()
    for track in deleted:
        assert await house.asks("DELETE", f"/tracks/{track}") == 404
    for n, track in enumerate(changed):
        assert await house.changes(track, f"Noon {n}", 200 + n) == 200
    await house.quiet()
    assert await titles(here, ann) == sorted([*sent, "Noon 0", "Noon 1", "Noon 2"])
    # Original, stream and cover of each: what they were to have in the meantime they have no more.
    assert await here.one("select count(*) from blob_owner where kind = 'track'") == 3 * 4
    await house.in_order()
