"""How many files a process may have open, each connection being one: as many as the system lets it have."""

from __future__ import annotations

import contextlib
import resource

MOST = 1 << 20  # where the system says nothing


def allow_most() -> int:
    """How many, from now on. A service begins with 1024, by which a full live feed alone would shut everybody
    out; the limit up to which it may help itself is far beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft < most:
        with contextlib.suppress(ValueError, OSError):  # a system that has one more limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connections(most_files: int) -> int:
    """How many connections there may be: whoever is sent a sound has its file open, and the socket twice."""
    return most_files // 3
