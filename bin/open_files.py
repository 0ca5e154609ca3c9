"""How many files a process may have open, each connection being one: as many as the system lets it have."""

from __future__ import annotations

import contextlib
import resource

MOST = 1 << 16


def allow_most() -> None:
    """A service begins with 1024, by which a full live feed alone would shut everybody out; the limit up to
    which it may help itself is far beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft < most:
        with contextlib.suppress(ValueError, OSError):  # a system that has one more limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
