"""What a child process tells `plyr up`: one line of JSON a second on a pipe that it was given.

    {"part": "ingest", "sources": [{"url": "wss://relay.example", "state": "live", "seq": 12,
     "lag_s": 0.4, "events_per_s": 182.0, "error": null}], "rejected": 0}
    {"part": "sync", "repos": {"active": 120, "pending": 3}, "due": 3, "running": 3,
     "resyncs_per_s": 12.5, "resyncs_failed": 0}
    {"part": "web", "address": "http://127.0.0.1:8000", "requests": 31, "requests_per_s": 0.5}
    {"part": "worker", "running": 2, "unfinished": 14, "attempts": 118}
    {"part": "scheduler", "leads": true, "enqueued": 3}

Every key but `part` may be missing; unknown keys are left out of the view. Who runs alone
has no pipe, and `write` does nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec


class SourceStatus(TypedDict, total=False):
    url: str
    state: str  # connecting, live, catching up, waiting, …: shown as it is
    seq: int | None
    lag_s: float | None  # age of the newest event
    events_per_s: float
    error: str | None  # why it is not live


class PartStatus(TypedDict, total=False):
    part: str
    sources: list[SourceStatus]
    rejected: int
    address: str
    requests: int
    requests_per_s: float
    repos: dict[str, int]  # by state
    due: int  # repos that could be read now
    running: int  # repos that are being read; jobs that are being done
    resyncs_per_s: float
    resyncs_failed: int  # since the start
    score: float  # of the last sweep: the share of repos that were in step
    unfinished: int  # jobs that are being done, here or elsewhere, or wait
    attempts: int  # at jobs, since the start
    leads: bool  # whether it is this scheduler that keeps time
    enqueued: int  # jobs, since the start


class StatusWriter:
    """Writes status lines without ever blocking: a line that the pipe has no room for is left out."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._rest = b""
        if fd is not None:
            os.set_blocking(fd, False)

    def write(self, status: Mapping[str, Any]) -> None:
        if self._fd is None:
            return
        data = self._rest or msgspec.json.encode(status) + b"\n"
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._rest = data[os.write(self._fd, data) :]


def read_status(line: bytes) -> PartStatus | None:
    """One line of a child as its status; None if it is none."""
    try:
        status = msgspec.json.decode(line, type=PartStatus)
    except msgspec.DecodeError:  # ValidationError is one
        return None
    return status if "part" in status else None


def end_with_parent(lifeline: int, grace_s: float = 3) -> None:
    """Stop this process when the other end of `lifeline` closes, as it does when the parent dies."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(lifeline, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
