"""The way in for sound, over REST: a form, how its job stands, and what is too large.

`POST /tracks/` takes the parts of its form in any order, each streamed into the store as it comes. What is
wrong with a text is known only when it has come, which may be behind the file; then the file is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aiohttp import web

from appview.auth.acting import Actor
from appview.auth.desk import Desk
from appview.errors import PayloadTooLarge, ScopeMissing, SignInNeeded
from appview.incoming import expects
from appview.jobs.watch import JobWatch
from appview.media.receive import KIND, MIB, REPLACE, Intake, Plan, Receiver, Staged
from appview.rest import shapes, site_shapes, told
from appview.rest.answers import Refused, answer, rest, slashed
from appview.rest.features import features_of
from appview.rest.form import Form
from appview.rest.multipart import Head
from appview.rest.resumable import Resumables, too_large
from appview.rest.spec import Auth, described
from appview.rest.tags import tags_of
from appview.viewer import Viewer
from storage import jobs
from storage.jobs import Job, JobState
from storage.reader import Reads

# As long as records may have them.
_TEXTS = {"title": 256, "album": 256, "description": 5000}
_FORM: dict[str, type] = {
    "title": str,
    "file": bytes,
    "album": str,
    "description": str,
    "features": str,
    "tags": str,
    "image": bytes,
}
_OPTIONAL = frozenset(_FORM) - {"title", "file"}
_QUEUED = "upload queued for processing"
_LOST = {"status": "failed", "message": "upload job not found", "error": "job lost"}


class Uploads:
    """All of it. `reads` is for the handles of people whom a track features."""

    def __init__(self, receiver: Receiver, desk: Desk, reads: Reads, watch: JobWatch) -> None:
        self.receiver = receiver
        self.desk = desk
        self._reads = reads
        self._watch = watch

    def add_to(self, app: web.Application) -> None:
        """Its routes; what is followed ends with the application."""
        router = app.router
        router.add_get("/config", rest(self.config))
        router.add_post("/tracks/", rest(self.publish), expect_handler=expects)
        slashed(router, "/tracks/")
        router.add_get("/tracks/uploads/{id}/progress", rest(self.progress))
        Resumables(self.receiver, self.actor, self.plan).add_to(router)

        async def stop(_: web.Application) -> None:
            await self._watch.stop()

        app.on_shutdown.append(stop)

    @described("What an upload may be", answer=site_shapes.Config)
    async def config(self, _: web.Request) -> web.StreamResponse:
        limits = self.receiver.limits
        return answer(
            {
                "max_upload_size_mb": limits.max_bytes // MIB,
                "max_image_size_mb": limits.max_image_bytes // MIB,
            }
        )

    @described(
        "Takes a sound, and makes a track of it",
        answer=shapes.Queued,
        auth=Auth.ACTOR,
        form=_FORM,
        optional=_OPTIONAL,
        errors={
            400: "no filename, no form, features that nobody is, or no tags",
            413: "`file too large (max …MB)`, `image too large (max …MB)`",
            429: "too many at once",
        },
    )
    async def publish(self, request: web.Request) -> web.StreamResponse:
        id = await self.take(request, await self.actor(request))
        return answer({"upload_id": str(id), "status": "pending", "message": _QUEUED})

    async def take(self, request: web.Request, actor: Actor) -> UUID:
        """The job that makes a track of a form: `title`, `file`, and perhaps `album`, `description`,
        `features`, `tags`, `image`. Raises Refused 400, 413, 422."""
        limits = self.receiver.limits
        if (request.content_length or 0) > limits.max_bytes + limits.max_image_bytes + MIB:
            raise too_large(limits)
        form = Form.of(request, limits.max_bytes + limits.max_image_bytes + MIB)
        async with self.receiver.taking(actor) as intake:
            read = _Read(self, form, intake)
            await read.all()
            plan = await self.plan(read.texts, filename=read.filename)
            if read.sound is None:
                raise _missing("file")
            return await intake.hand_on(plan, read.sound, read.cover)

    async def actor(self, request: web.Request) -> Actor:
        """Who asks, if a track can be written in their name. Raises Refused 401 and 403."""
        session = (await self.desk.asking(request)).session
        try:
            return await self.receiver.actor(Viewer(session.did, None, session.id))
        except ScopeMissing:
            raise Refused(403, "scope_upgrade_required") from None
        except SignInNeeded:
            raise Refused(403, "this token cannot act for its account") from None

    async def plan(self, texts: Mapping[str, str], *, filename: str | None) -> Plan:
        """What somebody wrote of a track. Raises Refused 400 and 422."""
        title = texts.get("title", "").strip()
        if not title:
            raise _missing("title")
        for name, most in _TEXTS.items():
            if len(texts.get(name, "").strip().encode()) > most:
                raise Refused(422, [_problem("string_too_long", name, f"at most {most} bytes")])
        features = await features_of(self._reads, texts.get("features", "").strip())
        return Plan(
            title=title,
            album=texts.get("album"),
            description=texts.get("description"),
            features=features,
            filename=filename,
            tags=tags_of(texts.get("tags", "").strip()),
        )

    @described("How an upload stands, until its end, for whoever has its id", media="text/event-stream")
    async def progress(self, request: web.Request) -> web.StreamResponse:
        """Events about an upload; what is none is told as one that failed."""
        async with self.desk.pool.connection() as conn:
            job = await jobs.get(conn, _uuid(request.match_info["id"]))
        if job is None or job.kind not in (KIND, REPLACE):
            return told.lost(request, _LOST)
        return await told.tell(request, self._watch, job, _shown)


class _Read:
    """What came of a form, as it comes."""

    def __init__(self, uploads: Uploads, form: Form, intake: Intake) -> None:
        self._uploads = uploads
        self._form = form
        self._intake = intake
        self.texts: dict[str, str] = {}
        self.filename: str | None = None
        self.sound: Staged | None = None
        self.cover: Staged | None = None

    async def all(self) -> None:
        """To its end. Raises Refused, and what staging raises."""
        while (head := await self._form.next()) is not None:
            match head.name:
                case "file":
                    await self._file(head)
                case "image" if head.filename is not None:
                    await self._image()
                case "title" | "album" | "description" | "features" | "tags" if head.filename is None:
                    self.texts[head.name] = await self._form.text()
                case _:
                    pass  # whatever a newer frontend has to say

    async def _file(self, head: Head) -> None:
        if not head.filename:
            raise Refused(400, "no filename provided")
        if self.sound is not None:
            raise Refused(400, "more than one file")
        self.filename = head.filename
        try:
            self.sound = await self._intake.sound(self._form.chunks(self._uploads.receiver.limits.max_bytes))
        except PayloadTooLarge:
            raise too_large(self._uploads.receiver.limits) from None

    async def _image(self) -> None:
        if self.cover is not None:
            raise Refused(400, "more than one image")
        most = self._uploads.receiver.limits.max_image_bytes
        try:
            self.cover = await self._intake.cover(self._form.chunks(most))
        except PayloadTooLarge:
            raise Refused(413, f"image too large (max {most // MIB}MB)") from None


async def _shown(job: Job) -> Mapping[str, Any]:
    return upload_event(job)


def upload_event(job: Job) -> dict[str, Any]:
    """How an upload's job stands, as the frontend reads it."""
    status = told.STATUS[job.state]
    result = job.result or {}
    percent = 0.0 if job.state is JobState.PENDING else 100.0
    event: dict[str, Any] = {
        "upload_id": str(job.id),
        "status": status,
        "message": "upload failed" if status == "failed" else job.message or _QUEUED,
        "error": job.error or ("cancelled" if job.state is JobState.CANCELLED else None),
        "phase": job.phase,
        "server_progress_pct": percent if job.progress is None else round(job.progress * 100, 1),
        "created_at": job.created_at.isoformat(),
        "completed_at": None if job.finished_at is None else job.finished_at.isoformat(),
        "warnings": job.warnings,
    }
    named = {"track_id": "trackId", "atproto_uri": "uri", "atproto_cid": "cid"}
    return event | {ours: result[theirs] for ours, theirs in named.items() if theirs in result}


def _uuid(text: str) -> UUID:
    """Of what is none, one that no job has."""
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)


def _missing(name: str) -> Refused:
    return Refused(422, [_problem("missing", name, "Field required")])


def _problem(kind: str, name: str, text: str) -> dict[str, Any]:
    return {"type": kind, "loc": ["body", name], "msg": text, "input": None}
