"""How the frontend is told of a job: its words for the states, and server-sent events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import hdrs

from storage.jobs import JobState

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


def event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"
