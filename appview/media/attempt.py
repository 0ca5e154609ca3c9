"""One attempt at making a track: what is asked for, what is done already, and where there is room to work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appview.jobs.tasks import Queue, Work
from appview.media import container, scratch
from appview.media.ffmpeg import Progress
from appview.media.probe import Probe
from appview.media.steps import SAID, Step
from appview.pds import Pds
from appview.records import Records
from appview.turns import Turns
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Rkey
from storage.blobs import rows
from storage.blobs.rows import Blob
from storage.blobs.store import BlobMissing, BlobStore, Digest
from storage.postgres import Connection, Pool

OWNER = "job"
_TELL_EVERY_S = 0.5

T = TypeVar("T")


class Staged(msgspec.Struct, frozen=True):
    """Bytes on their way in, as they were received."""

    name: str
    sha256: str
    crc32: int
    bytes: int

    @property
    def digest(self) -> Digest:
        return Digest(self.sha256, self.crc32, self.bytes)


class Wish(msgspec.Struct, frozen=True):
    """What is asked for: `args` of a job. `session`: whose grant writes. `rkey`: of the track that gets this
    sound; without it, it becomes a new one."""

    name: str
    sha256: str
    crc32: int
    bytes: int
    session: int
    title: str = ""
    album: str | None = None
    description: str | None = None
    features: tuple[Did, ...] = ()
    tags: tuple[str, ...] = ()
    cover: Staged | None = None
    rkey: Rkey | None = None

    @property
    def sound(self) -> Staged:
        return Staged(self.name, self.sha256, self.crc32, self.bytes)


class Facts(msgspec.Struct, frozen=True):
    """What the steps came to, those behind `step`: `facts` of a job. `original`, `stream`, `cover` are blobs,
    `blob` is the PDS's reference."""

    step: Step | None = None
    rkey: Rkey | None = None
    created_at: str = ""
    container: str = ""
    codec: str = ""
    rate: int = 0
    layout: str = ""
    duration_s: float = 0
    original: int | None = None
    stream: int | None = None
    cover: int | None = None
    file_type: str = ""
    image_url: str | None = None
    refusals: int = 0
    blob: dict[str, Any] | None = None
    uri: str | None = None
    cid: str | None = None

    @property
    def found(self) -> Probe:
        return Probe(container.BY_NAME[self.container], self.codec, self.rate, self.layout, self.duration_s)


@dataclass(frozen=True, slots=True)
class Place:
    """What making tracks needs. `queue`: for what has time until there is a track; `public_url`: where people
    reach us; `pds_bytes`: nothing larger is offered to a PDS."""

    pool: Pool
    store: BlobStore
    queue: Queue
    pds: Pds
    catalog: Catalog
    public_url: str
    scratch: Path
    max_duration_s: float
    pds_bytes: int = 100 << 20
    ffmpeg: str | None = None
    turns: Turns = field(default_factory=Turns)


class Attempt:
    """Use `begun`. `facts` are always what is saved."""

    def __init__(self, place: Place, work: Work, room: Path) -> None:
        assert work.job.did is not None
        self.place = place
        self.work = work
        self.room = room
        self.did = Did(work.job.did)
        self.wish = msgspec.convert(work.job.args, Wish)
        self.facts = msgspec.convert(work.job.facts, Facts)
        self.records = Records(place.pds, self.wish.session, self.did)

    @property
    def owner(self) -> str:
        """As an owner of blobs."""
        return str(self.work.job.id)

    @property
    def rkey(self) -> Rkey:
        assert self.facts.rkey is not None
        return self.facts.rkey

    async def save(
        self, step: Step | None, conn: Connection, *, warnings: Sequence[str] = (), **facts: Any
    ) -> None:
        """In `conn`'s transaction. `step` is behind us now; None: we are still at it."""
        if step is not None:
            facts["step"] = step
        await self.work.save(facts, warnings=warnings, conn=conn)
        self.facts = msgspec.structs.replace(self.facts, **facts)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.place.pool.connection() as conn, conn.transaction():
            yield conn

    async def blob(self, id: int | None) -> Blob:
        """A blob that we own. Raises BlobMissing."""
        assert id is not None
        async with self.place.pool.connection() as conn:
            found = await rows.get(conn, id)
        if found is None:
            raise BlobMissing(f"blob {id} is gone")
        return found

    def folder(self, name: str) -> Path:
        """A new, empty one."""
        path = self.room / name
        path.mkdir()
        return path

    async def original(self) -> Path:
        """A file of the sound as it was uploaded. Raises BlobMissing."""
        if self.facts.original is None:
            return await self._staged(self.wish.name, "original")
        blob = await self.blob(self.facts.original)
        path = self.place.store.path(blob.key)
        return path or await self._copied(self.place.store.read(blob.key), "original")

    async def picture(self, staged: Staged) -> Path:
        """A file of the picture that came with it. Raises BlobMissing."""
        return await self._staged(staged.name, "picture")

    async def _staged(self, name: str, copy: str) -> Path:
        store = self.place.store
        path = store.staged_path(name) or await self._copied(store.read_staged(name), copy)
        if not path.exists():
            raise BlobMissing(f"nothing is staged as {name}")
        return path

    async def _copied(self, chunks: AsyncIterator[bytes], name: str) -> Path:
        """Where blobs are no files: once an attempt."""
        path = self.room / name
        if not path.exists():
            part = self.room / f"{name}.part"
            with await asyncio.to_thread(part.open, "wb") as file:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
            part.rename(path)
        return path

    async def told(self, step: Step, make: Callable[[Progress], Awaitable[T]]) -> T:
        """What `make` comes to, while the owner is told how far it is; a cancelled job cancels it."""
        said = SAID[step]
        return await told(self.work, said.phase, said.message, make)


async def told(work: Work, phase: str, message: str, make: Callable[[Progress], Awaitable[T]]) -> T:
    """What `make` comes to, while its job says how far it is; a cancelled job cancels it."""
    heard = 0.0

    def on_progress(done: float) -> None:
        nonlocal heard
        heard = done

    task = asyncio.ensure_future(make(on_progress))
    try:
        while not (await asyncio.wait({task}, timeout=_TELL_EVERY_S))[0]:
            await work.report(phase, message, heard)
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


@contextlib.asynccontextmanager
async def begun(place: Place, work: Work) -> AsyncIterator[Attempt]:
    """An attempt, as long as the block lasts."""
    with scratch.room(place.scratch) as room:
        yield Attempt(place, work, room)
