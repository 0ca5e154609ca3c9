"""How a job is told to whoever has its id: the frontend's words for the states, as server-sent events.

Contract: the job as it stands now, at once, then after every change, and last as it ended, when the stream
ends; a comment fills a silence. Each event has an id. A browser comes again by itself when a stream ends, and
says which event was the last that it saw: if that was the end, it is told not to come any more (204).

    id: 1764380000000000        ─▶ GET …, Last-Event-ID: 1764380000000000 ─▶ 204
    data: {"status":"completed",…}

The ids of jobs are random, so one is as good as a key: a page's EventSource brings no cookies along.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import orjson
from aiohttp import hdrs, web

from appview.jobs.watch import JobWatch
from lexicons.syntax import Did
from storage.jobs import Job, JobState
from storage.reader import TimedOut, Unavailable

# No proxy in between may hold events back.
HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream",
    hdrs.CACHE_CONTROL: "no-cache",
    hdrs.CONNECTION: "keep-alive",
    "X-Accel-Buffering": "no",
}
STATUS = {
    JobState.PENDING: "pending",
    JobState.RUNNING: "processing",
    JobState.DONE: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "failed",
}
BEAT = b":\n\n"
AGAIN_MS = 3000  # when a browser whose stream broke off comes again
_LOST = "lost"
_RETRY_S = 1.0

Shown = Callable[[Job], Awaitable[Mapping[str, Any]]]


async def tell(request: web.Request, watch: JobWatch, job: Job, shown: Shown) -> web.StreamResponse:
    """See the module; `shown` is what to say of the job as it stands. Raises TooManyFollowed and
    TooManyFollowers, and what the first `shown` raises."""
    if job.finished and _saw(request, _mark(job)):
        return web.Response(status=204)
    async with aclosing(watch.follow(job.id, Did(job.did or ""))) as jobs:
        job = await anext(jobs, None) or job
        event = _event(_mark(job), await shown(job))
        response = web.StreamResponse(headers=HEADERS)
        with suppress(ConnectionError):  # they left
            await response.prepare(request)
            await response.write(b"retry: %d\n" % AGAIN_MS + event)
            async for each in jobs:
                await response.write(BEAT if each is None else await _said(response, each, shown))
            await response.write_eof()
    return response


def lost(request: web.Request, value: Mapping[str, Any]) -> web.Response:
    """The one event about a job that is none."""
    if _saw(request, _LOST):
        return web.Response(status=204)
    return web.Response(body=_event(_LOST, value), headers=HEADERS)


async def _said(response: web.StreamResponse, job: Job, shown: Shown) -> bytes:
    """Waits, with beats, for a database that cannot say."""
    while True:
        try:
            return _event(_mark(job), await shown(job))
        except (Unavailable, TimedOut):
            await response.write(BEAT)
            await asyncio.sleep(_RETRY_S)


def _event(id: str, value: Mapping[str, Any]) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (id.encode(), orjson.dumps(value))


def _mark(job: Job) -> str:
    """Which state of a job it is: another one after each change."""
    return str(round(job.updated_at.timestamp() * 1e6))


def _saw(request: web.Request, mark: str) -> bool:
    return request.headers.get("Last-Event-ID") == mark
