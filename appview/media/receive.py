"""Bytes that people send: staged as they come, in one pass, then handed to a job, or dropped.

Contract: what is on its way in has a row from before its first byte. The job exists once everything is staged
durably, in the same transaction that says so; until then any end, ours included, leaves nothing that the
collector would not drop:

    row ─▶ store.stage, hashed as it passes ─▶ job ─▶ (published by the job, which ends the row)
                    └─ refused, cut off: bytes and row are dropped here

An account has a few unfinished uploads at most, whichever process takes them.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import structlog

from appview.auth.acting import Actor, actor_of
from appview.errors import InvalidRequest, SignInNeeded, TooManyUploads
from appview.jobs.tasks import Queue
from appview.limits import Limit, RateLimiter
from appview.loops import beside
from appview.viewer import Viewer
from lexicons.catalog import Catalog
from lexicons.syntax import Rkey
from storage import sessions, uploads
from storage.blobs import rows
from storage.blobs.store import BlobFailed, BlobStore, Digest
from storage.postgres import Connection, Pool
from storage.uploads import Part

log = structlog.get_logger()

KIND = "upload"
MAX_FILENAME = 255
REPLACE = "replace"
TOUCH_EVERY_S = 30.0
MOVING_S = 4 * TOUCH_EVERY_S
MIB = 1 << 20
# As extensions of file names, for people who choose one. What is taken decides its content.
FORMATS = ("mp3", "wav", "m4a", "flac", "aiff", "aif", "ogg", "opus", "webm", "aac", "caf")
IMAGE_FORMATS = ("jpg", "jpeg", "png", "webp", "gif")

RATE = Limit(20, 60)
# No title has these, and no database takes all of them. Lines and tabs are fine.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """`most_unfinished` uploads of an account at once, and `rate` how often it may begin one."""

    max_bytes: int = 1536 * MIB
    max_image_bytes: int = 20 * MIB
    max_duration_s: int = 6 * 3600
    most_unfinished: int = 3
    rate: Limit = RATE


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of a sound: what its track's record will say, and `tags`, which no record says."""

    title: str
    album: str | None = None
    description: str | None = None
    features: Sequence[str] = ()
    filename: str | None = None
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise InvalidRequest("title: is blank")
        for name, text in (("title", self.title), ("album", self.album), ("description", self.description)):
            if text is not None and _CONTROL.search(text):
                raise InvalidRequest(f"{name}: has control characters")

    def args(self) -> dict[str, Any]:
        """As a job has it: what is not there is left out."""
        found = {
            "title": self.title.strip(),
            "album": (self.album or "").strip() or None,
            "description": self.description or None,
            "filename": _CONTROL.sub("", self.filename or "")[-MAX_FILENAME:] or None,
        }
        return {name: value for name, value in found.items() if value is not None} | {
            "features": list(self.features),
            **({"tags": list(self.tags)} if self.tags else {}),
        }


@dataclass(frozen=True, slots=True)
class Staged:
    """Bytes that lie in the store under `name`, durably."""

    name: str
    digest: Digest

    def args(self) -> dict[str, Any]:
        digest = self.digest
        return {"name": self.name, "sha256": digest.sha256, "crc32": digest.crc32, "bytes": digest.size}


class Receiver:
    """Takes uploads. `queue` is where their jobs go."""

    def __init__(
        self, pool: Pool, store: BlobStore, queue: Queue, catalog: Catalog, limits: UploadLimits
    ) -> None:
        self.pool = pool
        self.store = store
        self.queue = queue
        self.limits = limits
        self._wanted = f"repo:{catalog.collections.track}"
        self._definitions = catalog.definitions
        self._rate = RateLimiter(limits.rate)

    async def actor(self, asker: Viewer) -> Actor:
        """Whoever asks, if tracks can be written in their name. Raises SignInNeeded, ScopeMissing."""
        async with self.pool.connection() as conn:
            return await actor_of(conn, asker, self._wanted, self._definitions)

    def count(self, actor: Actor) -> None:
        """One change of a track's, as an upload that is begun. Raises RateLimitExceeded."""
        self._rate.take(actor.did)

    def left(self, asker: Viewer) -> int:
        """How many uploads they may still begin in this minute."""
        return self._rate.left(asker.did)

    async def unfinished(self, asker: Viewer) -> int:
        async with self.pool.connection() as conn:
            return await uploads.unfinished(conn, asker.did, moving_s=MOVING_S)

    async def begin(self, actor: Actor, *, size: int | None, plan: Mapping[str, Any] | None = None) -> str:
        """The name of a new upload; with `plan` it comes in parts. Raises RateLimitExceeded,
        TooManyUploads."""
        self._rate.take(actor.did)
        name = secrets.token_hex(16)
        async with self.pool.connection() as conn, conn.transaction():
            await self._hold(conn, actor)
            count = await uploads.unfinished(conn, actor.did, moving_s=MOVING_S)
            if count >= self.limits.most_unfinished:
                raise TooManyUploads
            await uploads.begin(conn, name, did=actor.did, part=Part.SOUND, bytes=size, plan=plan)
        return name

    @asynccontextmanager
    async def taking(self, actor: Actor, *, size: int | None = None) -> AsyncIterator[Intake]:
        """An upload in one piece. What was staged when the block ends is dropped, unless it was handed on.
        Raises what `begin` does."""
        intake = Intake(self, actor, await self.begin(actor, size=size))
        try:
            async with beside("touch upload", lambda: self._touch(intake.names)):
                yield intake
        finally:
            if not intake.handed_on:
                await self.drop(intake.names)

    async def enqueue(
        self,
        actor: Actor,
        plan: Mapping[str, Any],
        sound: Staged,
        cover: Staged | None,
        *,
        kind: str = KIND,
    ) -> UUID:
        """The job that goes on with it, once; asked again, the same one."""
        args = {**sound.args(), **plan, "session": actor.session}
        if cover is not None:
            args["cover"] = cover.args()
        async with self.pool.connection() as conn, conn.transaction():
            await self._hold(conn, actor)
            before = await uploads.job_of(conn, sound.name, actor.did)
            if before is not None:
                return before[0]
            id = await self.queue.enqueue(conn, kind, did=actor.did, subject=sound.name, args=args)
        assert id is not None  # nobody else has this name
        return id

    async def _hold(self, conn: Connection, actor: Actor) -> None:
        """Nobody else begins or hands on an upload of theirs meanwhile, and they do not leave. Raises
        SignInNeeded if they have."""
        await uploads.lock(conn, actor.did)
        if not await sessions.grants(conn, actor.did, actor.session):
            raise SignInNeeded

    async def drop(self, names: Sequence[str]) -> None:
        """Drop staged bytes and their rows. What cannot be dropped now is left to the collector."""
        try:
            for name in names:
                await self.store.unstage(name)
            async with self.pool.connection() as conn:
                for name in names:
                    await rows.end_upload(conn, name)
        except (BlobFailed, psycopg.OperationalError) as error:
            log.warning("an upload is left to the collector", reason=str(error))

    async def _touch(self, names: Sequence[str]) -> None:
        """Say again and again that it moves."""
        while True:
            await asyncio.sleep(TOUCH_EVERY_S)
            try:
                async with self.pool.connection() as conn:
                    for name in names:
                        await rows.touch_upload(conn, name)
            except psycopg.OperationalError as error:
                log.warning("an upload cannot be kept", reason=str(error).strip())


class Intake:
    """One upload in one piece, a sound and perhaps a cover, in any order."""

    def __init__(self, receiver: Receiver, actor: Actor, name: str) -> None:
        self._receiver = receiver
        self._actor = actor
        self.names = [name]
        self.handed_on = False

    async def sound(self, chunks: AsyncIterator[bytes], *, size: int | None = None) -> Staged:
        """Stage it. Raises StoreDown, Mismatch, InvalidRequest for nothing at all, what `chunks` does."""
        digest = await self._receiver.store.stage(self.names[0], chunks, size=size)
        if not digest.size:
            raise InvalidRequest("the file is empty")
        return Staged(self.names[0], digest)

    async def cover(self, chunks: AsyncIterator[bytes]) -> Staged | None:
        """Stage an image; None where nothing came. Likewise."""
        receiver, name = self._receiver, f"{self.names[0]}-cover"
        async with receiver.pool.connection() as conn:
            await uploads.begin(conn, name, did=self._actor.did, part=Part.COVER, bytes=None)
        self.names.append(name)
        digest = await receiver.store.stage(name, chunks)
        if digest.size:
            return Staged(name, digest)
        self.names.remove(name)
        await receiver.drop([name])
        return None

    async def hand_on(self, plan: Plan, sound: Staged, cover: Staged | None = None) -> UUID:
        """The id of the job that goes on with it."""
        return await self._handed_on(plan.args(), sound, cover)

    async def replace(self, rkey: Rkey, title: str, sound: Staged) -> UUID:
        """The id of the job that gives a track this sound."""
        return await self._handed_on({"rkey": rkey, "title": title}, sound, None, kind=REPLACE)

    async def _handed_on(
        self, plan: Mapping[str, Any], sound: Staged, cover: Staged | None, *, kind: str = KIND
    ) -> UUID:
        self.handed_on = True
        try:
            return await self._receiver.enqueue(self._actor, plan, sound, cover, kind=kind)
        except (psycopg.OperationalError, asyncio.CancelledError):
            raise  # whether a commit whose answer is lost took place nobody can tell: the collector will
        except BaseException:
            self.handed_on = False
            raise
