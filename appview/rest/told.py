"""How the frontend is told of a job: its words for the states, and server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import orjson
from aiohttp import hdrs, web

from appview.auth.desk import Desk
from appview.rest.answers import Refused
from storage.jobs import JobState
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
_RETRY_S = 1.0


def event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


async def tell(request: web.Request, desk: Desk, events: AsyncGenerator[bytes]) -> web.StreamResponse:
    """The events, until their end or until whoever asks is not signed in any more, which is seen before each.
    Raises what the first one raises."""
    async with aclosing(events):
        first = await anext(events, BEAT)
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        with suppress(ConnectionError):  # they left
            await response.write(first)
            async for event in events:
                if not await _signed_in(request, desk, response):
                    break
                await response.write(event)
            await response.write_eof()
    return response


async def _signed_in(request: web.Request, desk: Desk, response: web.StreamResponse) -> bool:
    """Waits, with beats, for a database that cannot say."""
    while True:
        try:
            await desk.asking(request)
        except Refused:
            return False
        except (Unavailable, TimedOut):
            await response.write(BEAT)
            await asyncio.sleep(_RETRY_S)
        else:
            return True
