"""Exports of one's own tracks: asked for, followed, and fetched at an address that works for a while.

    POST /exports/media ─▶ GET /exports/{id}/progress ─▶ GET /exports/{id}/download ─307─▶ …/plyr-tracks-….zip

The last one needs no session, since it is signed for its owner; it ends with its time, with the export, and
when the account is out of sight, or something in it is taken down: of a ZIP on its way before its next file.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import psycopg
from aiohttp import hdrs, web

from appview.auth.desk import Desk
from appview.jobs.tasks import Queue
from appview.jobs.watch import JobWatch
from appview.media import manifest
from appview.media.body import answer as send
from appview.media.export import KIND, file_name
from appview.media.serve import SAFETY
from appview.media.signed import BadLink, Links
from appview.media.zipped import ZipBody
from appview.rest import account_shapes, told
from appview.rest.answers import Refused, answer, rest
from appview.rest.media import SIGHT_S
from appview.rest.spec import Auth, described
from lexicons.syntax import Did
from storage import exports, jobs
from storage.blobs.store import Area, BlobMissing, BlobStore, Key, StoreDown
from storage.jobs import Job, JobState

LINK_S = 3600
_QUEUED = "export queued for processing"


class Exports:
    """`link_s`: how long an address is good. `clock` gives seconds since 1970."""

    def __init__(
        self,
        desk: Desk,
        queue: Queue,
        watch: JobWatch,
        store: BlobStore,
        links: Links,
        *,
        link_s: int = LINK_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._desk = desk
        self._queue = queue
        self._watch = watch
        self._store = store
        self._links = links
        self._link_s = link_s
        self._clock = clock

    def add_to(self, app: web.Application) -> None:
        """Its routes; what is followed ends with the application."""
        router = app.router
        router.add_post("/exports/media", rest(self.begin))
        router.add_get("/exports/{id}/progress", rest(self.progress))
        router.add_get("/exports/{id}/download", rest(self.download))
        router.add_get(r"/exports/{id}/{name:plyr-tracks-[\d-]+\.zip}", rest(self.zip))

        async def stop(_: web.Application) -> None:
            await self._watch.stop()

        app.on_shutdown.append(stop)

    @described(
        "Puts all that one has into one ZIP",
        answer=account_shapes.ExportQueued,
        auth=Auth.SESSION,
        errors={404: "`no tracks found to export`", 409: "an export has just ended"},
    )
    async def begin(self, request: web.Request) -> web.StreamResponse:
        """An export of all that one has; the one that is under way, where there is one."""
        did = Did((await self._desk.asking(request)).session.did)
        async with self._desk.pool.connection() as conn, conn.transaction():
            count = await exports.count(conn, did)
            if not count:
                raise Refused(404, "no tracks found to export")
            args = {"track_count": count}
            id = await self._queue.enqueue(conn, KIND, did=did, subject=did, args=args)
            if id is None:
                under_way = await jobs.unfinished_about(conn, KIND, did)
                if under_way is None:  # it has ended just now
                    raise Refused(409, "an export has just ended: ask again")
                id, count = under_way.id, _total(under_way)
        return answer({"export_id": str(id), "status": "pending", "message": _QUEUED, "track_count": count})

    @described(
        "How an export stands, until its end, for whoever has its id; its owner sees its address",
        auth=Auth.OPTIONAL,
        media="text/event-stream",
        errors={404: "`export not found`"},
    )
    async def progress(self, request: web.Request) -> web.StreamResponse:
        async def shown(job: Job) -> Mapping[str, Any]:
            return self._event(job, own=await self._is_own(request, job))

        return await told.tell(request, self._watch, await self._job(request), shown)

    async def _is_own(self, request: web.Request, job: Job) -> bool:
        """Whether its owner asks, who is still signed in."""
        try:
            return (await self._desk.asking(request)).session.did == job.did
        except Refused:
            return False

    @described(
        "To an address that works for a while",
        auth=Auth.SESSION,
        status=307,
        media=None,
        errors={400: "`export not ready`", 403: "`not authorized`", 404: "`export not found`"},
    )
    async def download(self, request: web.Request) -> web.StreamResponse:
        job = await self._own(request)
        if job.state is not JobState.DONE:
            raise Refused(400, "export not ready")
        if not await self._may_have(job):
            raise Refused(404, "export not found")
        where = self._address(job)
        return web.Response(status=307, headers={hdrs.LOCATION: where, hdrs.CACHE_CONTROL: "no-store"})

    @described(
        "The ZIP, whole or in parts, at its signed address",
        media="application/zip",
        errors={403: "the signature is wrong, or too old", 404: "`export not found`"},
    )
    async def zip(self, request: web.Request) -> web.StreamResponse:
        """The ZIP itself, whole or in parts, to whoever has the signed address."""
        try:
            did = self._links.check(request.path, request.query)
        except BadLink as error:
            raise Refused(403, str(error)) from None
        job = await self._job(request)
        if job.did != did or job.state is not JobState.DONE or job.result is None:
            raise Refused(404, "export not found")
        if not await self._may_have(job):
            raise Refused(404, "export not found")
        layout = manifest.layout_of(await self._manifest(Key(Area.EXPORT, job.result["manifest"])))
        headers = SAFETY | {
            hdrs.CACHE_CONTROL: "private, no-store",
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{file_name(job)}"',
        }
        body = ZipBody(layout, self._store, self._still(job))
        return await send(request, body, mime="application/zip", etag=layout.etag, headers=headers)

    async def _may_have(self, job: Job) -> bool:
        async with self._desk.pool.connection() as conn:
            return await exports.may_have(conn, job.id, Did(job.did or ""))

    def _still(self, job: Job) -> Callable[[], Awaitable[bool]]:
        """Whether it may be had, as it was SIGHT_S ago at most. Where nobody can tell it may not: whoever
        fetches it can go on from there later."""
        known_at = time.monotonic()

        async def still() -> bool:
            nonlocal known_at
            now = time.monotonic()
            if now - known_at < SIGHT_S:
                return True
            known_at = now
            try:
                return await self._may_have(job)
            except psycopg.OperationalError:
                return False

        return still

    async def _manifest(self, key: Key) -> bytes:
        try:
            return b"".join([chunk async for chunk in self._store.read(key)])
        except BlobMissing:
            raise Refused(404, "export not found") from None
        except StoreDown:
            raise Refused(503, "the store of exports does not answer") from None

    async def _own(self, request: web.Request) -> Job:
        """The export that is asked for. Raises Refused 401, 403, 404."""
        session = (await self._desk.asking(request)).session
        job = await self._job(request)
        if job.did != session.did:
            raise Refused(403, "not authorized")
        return job

    async def _job(self, request: web.Request) -> Job:
        try:
            id = UUID(request.match_info["id"])
        except ValueError:
            raise Refused(404, "export not found") from None
        async with self._desk.pool.connection() as conn:
            job = await jobs.get(conn, id)
        if job is None or job.kind != KIND:
            raise Refused(404, "export not found")
        return job

    def _address(self, job: Job) -> str:
        path = f"/exports/{job.id}/{file_name(job)}"
        expires = round(self._clock()) + self._link_s
        return self._links.sign(path, Did(job.did or ""), expires=expires)

    def _event(self, job: Job, *, own: bool) -> Mapping[str, Any]:
        """Nobody but its owner gets its address, and the warnings, which name tracks."""
        event = export_event(job)
        if not own:
            return {**event, "warnings": []}
        if job.state is not JobState.DONE:
            return event
        return {**event, "download_url": (self._desk.config.origin or "") + self._address(job)}


def export_event(job: Job) -> Mapping[str, Any]:
    """How an export's job stands, as the frontend reads it."""
    status, total = told.STATUS[job.state], _total(job)
    done = status == "completed"
    ready = (job.result or {}).get("tracks", total)
    return {
        "export_id": str(job.id),
        "status": status,
        "message": "export failed" if status == "failed" else job.message or _QUEUED,
        "error": job.error or ("cancelled" if job.state is JobState.CANCELLED else None),
        "processed_count": ready if done else round((job.progress or 0) * total),
        "total_count": total,
        "warnings": job.warnings,
    }


def _total(job: Job) -> int:
    return int(job.args.get("track_count", 0))
