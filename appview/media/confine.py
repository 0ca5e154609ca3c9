"""The last thing to run before ffmpeg: takes away what ffmpeg does not need, and becomes it.

    python -I -S confine.py '{"cpu_s": …, "memory_bytes": …, "file_bytes": …, "core": …}' ffmpeg -i …

It is a program of its own, with nothing but the standard library: code that runs between fork and exec in a
process with threads may hang. Limits and death with the parent always hold. A network namespace without any
network is a second fence behind ffmpeg's own list of protocols, where the kernel allows it to us.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
OPEN_FILES = 64
NICE = 10


def main(limits: dict[str, int], core: int | None, command: list[str]) -> None:
    # Python ignores these two, and what is ignored stays so in the next program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if libc.unshare(CLONE_NEWNET):
            libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    if core is not None:
        with contextlib.suppress(OSError):  # it may have been taken from us since
            os.sched_setaffinity(0, {core})
    os.nice(NICE)
    for what, most in (
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    os.execv(command[0], command)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    main(told, told.pop("core", None), sys.argv[2:])
