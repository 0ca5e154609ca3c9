"""The cores that we may use, and who of our processes keeps to one of them.

An encoder is a row of threads that wake each other for every frame, a hundred times a second of sound and
core: across cores that costs a sixth of the time. So each keeps to one; and to none, once others are idle.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def usable() -> list[int]:
    """Their numbers; nothing where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def count() -> int:
    return len(usable()) or os.cpu_count() or 1


def release(pid: int) -> None:
    """Let a process and its threads run on all cores. One that has ended meanwhile is no error."""
    cores = usable()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)
