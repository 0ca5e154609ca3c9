"""The name of a process in a lease, by which others on the same machine see that it is gone.

A lease runs out by the clock, since its holder may be slow, or cut off from the database, and go on. Who is
gone does not, and that the kernel knows, whatever became of any connection.

A name is `boot:namespace:pid:start`: one boot of one machine, one numbering of processes, a number, and since
when it is that process's; no other ever has it. Of a process elsewhere, or on a system without /proc, nothing
is known: the clock alone decides.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def own() -> str | None:
    """The name of this process. None: this system does not tell."""
    try:
        pid = os.getpid()
        return f"{_here()}:{pid}:{_state_and_start(pid)[1]}"
    except OSError:
        return None


def gone(names: Iterable[str]) -> list[str]:
    """Those of them that are certainly there no more."""
    try:
        here = _here()
    except OSError:
        return []
    return [name for name in names if _is_gone(name, here)]


def _here() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"


def _is_gone(name: str, here: str) -> bool:
    where, pid, start = name.rsplit(":", 2)
    if where != here:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's: it is there
    try:
        state, since = _state_and_start(int(pid))
    except OSError:
        return False  # hidden from us, or gone this moment; then the next look tells
    return since != start or state in "ZX"


def _state_and_start(pid: int) -> tuple[str, str]:
    """As proc(5) has them; the process's own name before them may hold anything."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], fields[19]
