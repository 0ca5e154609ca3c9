"""Processes of plyr's that end themselves by SIGKILL at a border of their life, and those that come after.

    async with doomed(here.at) as processes:
        await processes.work(id, end="publish audio")     # does jobs, and dies at that border
        await processes.work()                            # does all that is left

Run as a program it is the one that they are forked off, so that none is loaded anew: `python -m
tests.integration.media.doomed PREMISES`. It reads a line of JSON for each and tells how it ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from aiohttp import web

from appview.app import build_app, make_reader
from appview.auth.assembly import assembled
from appview.auth.desk import SignIn
from appview.auth.keyring import GivenKeys, KeyRing
from appview.auth.viewers import Viewers
from appview.clients import Clients
from appview.jobs import house
from appview.jobs.tasks import Task
from appview.jobs.watch import JobWatch
from appview.jobs.worker import Worker
from appview.limits import Limit
from appview.media.attempt import Place
from appview.media.opus import KIND, LANE, OpusRenditions
from appview.media.pipeline import Uploads
from appview.media.receive import Receiver, UploadLimits
from appview.media.replacement import Replacements
from appview.moderation import scanning
from appview.moderation.scanning import Scanner, Scans
from appview.moderation.variants import Variants
from appview.protocol import make_runner
from appview.rest import uploads
from appview.rest.pictures import Pictures
from appview.rest.tracks import Tracks
from appview.service import AppConfig
from appview.sound_origins import ANYWHERE, SoundOrigins
from bin.kinds import job_queue
from bin.settings import ROOT
from storage import jobs
from storage.postgres import Pool
from tests.integration.media.borders import Life, MortalPds, MortalStore, mortal_pool
from tests.integration.media.studio import CATALOG, WISH, Premises, furnished

HEARTBEAT_S, STALLED_S = 0.2, 1.0
_NEVER_S = 3600.0
_NONE = timedelta(0)
_LEFT = """
    select (select count(*) from job where finished_at is null and coalesce(id = %(id)s::uuid, true))
         + (select count(*) from procrastinate.procrastinate_jobs
             where coalesce(lock = %(id)s::uuid::text, true))
"""


class Processes:
    """One at a time. `passed`: the borders that the last one came to."""

    def __init__(self, parent: asyncio.subprocess.Process) -> None:
        self._parent = parent
        self.passed: list[str] = []

    async def work(self, id: UUID | None = None, *, end: str | None = None) -> bool:
        """A worker, until that job has ended, or every one; whether it died. One that is to live takes up
        what others left behind."""
        await self._tell(what="work", end=end, id=None if id is None else str(id))
        return await self._died()

    @asynccontextmanager
    async def web(self, *, end: str | None = None) -> AsyncIterator[str]:
        """A server, until the block ends; its address."""
        await self._tell(what="web", end=end)
        word, _, address = (await self._line()).partition(" ")
        assert word == "at"
        yield address
        await self._tell(what="stop")
        assert not await self._died() or end is not None

    async def _tell(self, **told: Any) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(told).encode() + b"\n")
        await self._parent.stdin.drain()

    async def _line(self) -> str:
        assert self._parent.stdout is not None
        async with asyncio.timeout(60):
            return (await self._parent.stdout.readline()).decode().rstrip()

    async def _died(self) -> bool:
        self.passed = []
        while (line := (await self._line()).partition(" "))[0] == "border":
            self.passed.append(line[2])
        assert line[0] == "ended"
        assert line[2] in ("0", str(-signal.SIGKILL)), line
        return line[2] != "0"


@asynccontextmanager
async def doomed(at: Premises) -> AsyncIterator[Processes]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.media.doomed", json.dumps(asdict(at))),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Processes(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@asynccontextmanager
async def mortal(at: Premises, life: Life) -> AsyncIterator[tuple[Place, Any]]:
    """What tasks are made with, each edge of it mortal; and an OAuth client."""
    async with (
        mortal_pool(at.dsn, life) as pool,
        furnished(at, pool, MortalStore(Path(at.folder) / "blobs", life)) as (place, _, oauth),
    ):
        yield replace(place, pds=MortalPds(place.pds, life)), oauth


async def work(at: Premises, life: Life, *, id: UUID | None, lives: bool) -> None:
    async with mortal(at, life) as (place, _):
        tasks = [
            Task("blobs.collect", house.collect_blobs(at.dsn, place.store, grace=_NONE, keep=_NONE)),
            Task("tracks.sweep", house.sweep_tracks(place.pool, CATALOG.collections.track)),
            Uploads(place).task,
            Replacements(place).task,
            *OpusRenditions(place.pool, place.store, place.queue, place.scratch).tasks,
            *Scans(
                place.pool, Scanner(place.pool, None, str, Variants(place.store, place.scratch)), place.queue
            ).tasks,
        ]
        lanes = {"heavy": 2, "light": 1, LANE: 1, scanning.LANE: 1}
        if id is not None:  # what has time is done alone, so that all borders are of one job
            later = await _kind(place.pool, id) == KIND
            lanes = {LANE: 1} if later else {"heavy": 2, "light": 1}
            tasks = [task for task in tasks if task.lane in lanes]
        worker = Worker(
            at.dsn,
            place.pool,
            tasks,
            lanes,
            heartbeat_s=HEARTBEAT_S,
            stalled_s=STALLED_S if lives else _NEVER_S,
            revive_s=HEARTBEAT_S,
        )
        working = asyncio.create_task(worker.run())
        while not await _is_over(place.pool, id):
            assert not working.done()
            await asyncio.sleep(0.02)
        working.cancel()
        await asyncio.wait([working])


async def _kind(pool: Pool, id: UUID) -> str:
    async with pool.connection() as conn:
        job = await jobs.get(conn, id)
    assert job is not None
    return job.kind


async def _is_over(pool: Pool, id: UUID | None) -> bool:
    """Whether that job, or every one, has ended, and its ticket is gone."""
    async with pool.connection() as conn:
        row = await (await conn.execute(_LEFT, {"id": id})).fetchone()
    return row == (0,)


async def serve(at: Premises, life: Life) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        place, oauth = await enter(mortal(at, life))
        reads = await enter(make_reader(at.dsn, connections=1))
        sign_in = SignIn(WISH, CATALOG.definitions, collections=CATALOG.collections.own)
        auth = await enter(assembled(place.pool, reads, KeyRing(GivenKeys([at.key])), oauth, sign_in))
        limits = UploadLimits(rate=Limit(1000, 60))
        receiver = Receiver(place.pool, place.store, job_queue(), CATALOG, limits)
        taken = uploads.Uploads(receiver, auth.desk, reads, JobWatch(at.dsn, place.pool))
        viewer_of = Viewers(Clients(), services=None, sessions=auth.sessions).of
        app = build_app(
            reads,
            CATALOG,
            AppConfig(version="1", viewer_of=viewer_of),
            auth=auth,
            uploads=taken,
            tracks=Tracks(
                taken,
                place,
                reads,
                viewer_of,
                Pictures(place, limits.max_image_bytes),
                SoundOrigins([ANYWHERE]),
            ),
        )
        runner = make_runner(app, shutdown_timeout_s=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(0, stop.set)
        _say(f"at http://127.0.0.1:{runner.addresses[0][1]}")
        await stop.wait()
        asyncio.get_running_loop().remove_reader(0)
        os.read(0, 1000)


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def live(at: Premises, told: dict[str, Any]) -> None:
    """One process, from its beginning to its end."""
    life = Life(told["end"])
    if told["what"] == "web":
        asyncio.run(serve(at, life))
    else:
        id = told["id"] and UUID(told["id"])
        asyncio.run(work(at, life, id=id, lives=told["end"] is None))


def main(at: Premises) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for line in iter(sys.stdin.buffer.readline, b""):
        told = json.loads(line)
        if told["what"] == "stop":  # it is dead already
            continue
        if (pid := os.fork()) == 0:
            code = 1
            try:
                live(at, told)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        _say(f"ended {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")


if __name__ == "__main__":
    main(Premises(**json.loads(sys.argv[1])))
