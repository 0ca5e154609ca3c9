"""`/upload`: a form for a track, and a page on which its artist watches it become one. No scripts.

The page of a job loads itself anew until the job has ended. What a form is refused for stands above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aiohttp import hdrs, web

from appview.media.receive import FORMATS, IMAGE_FORMATS, KIND, MIB
from appview.rest.answers import Refused, rest
from appview.rest.uploads import Uploads
from appview.web.problems import Problem, reason, sentence
from appview.web.site import Site
from storage import jobs
from storage.jobs import Job, JobState

AGAIN_S = 2
_SIGN_IN = "not authenticated - login required"
_NARROW = "scope_upgrade_required"


class UploadPages:
    """For whoever is signed in here."""

    def __init__(self, uploads: Uploads, site: Site) -> None:
        self._uploads = uploads
        self._site = site

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/upload", rest(self.form))
        router.add_post("/upload", rest(self.send))
        router.add_get("/upload/{id}", rest(self.job))

    async def form(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._uploads.actor(request)
        except Refused as refused:
            if refused.status == 401:
                raise web.HTTPSeeOther("/sign-in") from None
            if refused.detail == _NARROW:
                raise web.HTTPSeeOther(f"/account?error={_NARROW}") from None
            return self._form(refused)
        return self._form()

    async def send(self, request: web.Request) -> web.StreamResponse:
        try:
            id = await self._uploads.take(request, await self._uploads.actor(request))
        except Refused as refused:
            return self._form(refused)
        return web.Response(
            status=303, headers={hdrs.LOCATION: f"/upload/{id}", hdrs.CACHE_CONTROL: "no-store"}
        )

    async def job(self, request: web.Request) -> web.StreamResponse:
        """How it stands. One of somebody else's does not exist."""
        try:
            actor = await self._uploads.actor(request)
        except Refused:
            raise web.HTTPSeeOther("/sign-in") from None
        job = await self._found(request.match_info["id"])
        if job is None or job.did != actor.did or job.kind != KIND:
            nothing = {"title": "There is no such upload", "text": "It is long over, or was never yours."}
            return self._site.page("nothing.html", nothing, status=404)
        return self._site.page("upload_job.html", standing(job))

    async def _found(self, text: str) -> Job | None:
        try:
            id = UUID(text)
        except ValueError:
            return None
        async with self._uploads.receiver.pool.connection() as conn:
            return await jobs.get(conn, id)

    def _form(self, refused: Refused | None = None) -> web.Response:
        limits = self._uploads.receiver.limits
        problem = None
        if refused is not None:
            text = "Please sign in." if refused.detail == _SIGN_IN else reason(refused)
            problem = Problem("That was not taken.", text)
        values = {
            "problem": problem,
            "notice": None,
            "sound_types": ",".join(f".{each}" for each in FORMATS),
            "formats": ", ".join(each.upper() for each in FORMATS),
            "image_types": ",".join(f".{each}" for each in IMAGE_FORMATS),
            "most_mb": limits.max_bytes // MIB,
            "most_image_mb": limits.max_image_bytes // MIB,
            "most_h": limits.max_duration_s // 3600,
        }
        status = 200 if refused is None else refused.status
        return self._site.page("upload.html", values, status=status, form_action="'self'")


def standing(job: Job) -> Mapping[str, Any]:
    """What the page of a job says of it."""
    result = job.result or {}
    return {
        "title": job.args.get("title", "A track"),
        "again_s": None if job.finished else AGAIN_S,
        "done": job.state is JobState.DONE,
        "failed": job.state in (JobState.FAILED, JobState.CANCELLED),
        "message": sentence(job.message or "it waits for its turn"),
        "error": sentence(job.error or "it was cancelled"),
        "percent": None if job.progress is None else round(job.progress * 100),
        "warnings": [sentence(each) for each in job.warnings],
        "track": result.get("trackId"),
        "uri": result.get("uri"),
    }
