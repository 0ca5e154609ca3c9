"""What the machine is, and what a process costs on it: cores, CPU seconds, peak memory, from /proc."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the figures come from. Goes into every report: a figure without it means nothing."""

    cpu: str
    cores: int
    memory_gib: int
    python: str
    postgres: str
    kernel: str


def describe() -> Machine:
    """This machine, in the words of its own kernel."""
    return Machine(
        cpu=_field(Path("/proc/cpuinfo"), "model name") or platform.processor() or "unknown",
        cores=os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        python=platform.python_version(),
        postgres=_postgres(),
        kernel=platform.release(),
    )


def cores() -> tuple[int, int] | None:
    """Two cores to pin to, (the other side, the measured side), or None where there are fewer."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) >= 2 else None


def pin(core: int | None) -> None:
    """Keep this process, and what it starts from now on, on one core. None leaves it free."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def own_peak_bytes() -> int:
    """The largest resident size that this process has had."""
    if Path("/proc/self/status").exists():
        return peak_bytes(os.getpid())  # getrusage would count the parent's size at the fork, too
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads. Raises FileNotFoundError when it is gone."""
    # The second field is the command in brackets and may hold anything: count from behind it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def family_cpu_seconds(pid: int) -> float:
    """CPU time of all processes below this one, the reaped ones among them included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    total = (int(fields[13]) + int(fields[14])) * _TICK_S
    for child in children(pid):
        try:
            total += cpu_seconds(child)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile: the parent counts it with the reaped ones
    return total


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def peak_bytes(pid: int) -> int:
    """The largest resident size that a process has had."""
    return int((_field(Path(f"/proc/{pid}/status"), "VmHWM") or "0 kB").split()[0]) * 1024


def resident_bytes(pid: int) -> int:
    """The resident size of a process now."""
    return int((_field(Path(f"/proc/{pid}/status"), "VmRSS") or "0 kB").split()[0]) * 1024


def _field(file: Path, name: str) -> str | None:
    if not file.exists():
        return None
    for line in file.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _postgres() -> str:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    binary = str(found[-1]) if found else shutil.which("postgres")
    if binary is None:
        return "from the wheel"
    return subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10).stdout.strip()
