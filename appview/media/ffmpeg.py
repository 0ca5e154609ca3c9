"""ffmpeg, kept small: a process of its own group with limits, without network, which ends when we say so.

Inputs and outputs are `file:` paths and pipes: `source` allows no other protocol, and one format alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appview.media.failures import LimitExceeded, NoFfmpeg, Unreadable

_CONFINE = Path(__file__).parent / "confine.py"
_CHUNK = 1 << 20
_MOST_LOG = 16_384
_PROTOCOLS = "file,pipe"

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """`wall_s`: by the clock; `file_bytes`: for each file that it writes."""

    cpu_s: int
    wall_s: float
    memory_bytes: int = 2 << 30
    file_bytes: int = 4 << 30


@functools.cache
def find() -> str:
    """The system's ffmpeg, else the wheel's. Raises NoFfmpeg."""
    found = shutil.which("ffmpeg")
    if found is not None:
        return found
    import imageio_ffmpeg  # here: a system that has its own need not look for another

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise NoFfmpeg(f"there is no ffmpeg on this machine: {error}") from error


def source(path: Path, demuxer: str, *options: str) -> list[str]:
    """Arguments that open a file as this format and no other."""
    return ["-protocol_whitelist", _PROTOCOLS, *options, "-f", demuxer, "-i", f"file:{path}"]


async def run(
    arguments: Sequence[str],
    limits: Limits,
    *,
    feed: Callable[[bytes], None] | None = None,
    on_progress: Progress | None = None,
    on_start: Callable[[int], None] | None = None,
    core: int | None = None,
    ffmpeg: str | None = None,
) -> str:
    """Run ffmpeg to its end; returns the end of what it said.

    `feed` gets what it writes to `pipe:1`, in a thread, chunk by chunk; `on_progress` hears how many seconds
    of sound are done; `on_start` its number as a process. It keeps to `core`, if one is given. Raises what
    `feed` raises, Unreadable, LimitExceeded, NoFfmpeg; after that, and where the task is cancelled, the whole
    group of processes is dead.
    """
    program = find() if ffmpeg is None else ffmpeg
    reading, writing = os.pipe()
    try:
        process = await _spawn(program, arguments, limits, writing, core, output=feed is not None)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    if on_start is not None:
        on_start(process.pid)
    try:
        async with asyncio.timeout(limits.wall_s), asyncio.TaskGroup() as group:
            log = group.create_task(_log(process))
            group.create_task(_progress(reading, on_progress))
            if feed is not None:
                group.create_task(_feed(process, feed))
        code = await process.wait()
    except TimeoutError:
        raise LimitExceeded(f"it takes longer than {limits.wall_s:.0f} s") from None
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code:
        raise _failure(code, log.result(), limits)
    return log.result()


async def _spawn(
    program: str, arguments: Sequence[str], limits: Limits, progress: int, core: int | None, *, output: bool
) -> asyncio.subprocess.Process:
    confined = {
        "cpu_s": limits.cpu_s,
        "memory_bytes": limits.memory_bytes,
        "file_bytes": limits.file_bytes,
        "core": core,
    }
    command = [sys.executable, "-I", "-S", str(_CONFINE), json.dumps(confined), program]
    command += ["-hide_banner", "-nostdin", "-y", "-progress", f"pipe:{progress}", "-stats_period", "0.5"]
    return await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if output else asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(progress,),
        env={"LC_ALL": "C"},
        start_new_session=True,
        limit=_CHUNK,
    )


async def _log(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    log = ""
    while chunk := await process.stderr.read(_MOST_LOG):
        log = (log + chunk.decode(errors="replace"))[-_MOST_LOG:]
    return log


async def _feed(process: asyncio.subprocess.Process, feed: Callable[[bytes], None]) -> None:
    assert process.stdout is not None
    while chunk := await process.stdout.read(_CHUNK):
        await asyncio.to_thread(feed, chunk)


def _failure(code: int, log: str, limits: Limits) -> Unreadable | LimitExceeded:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):  # the kernel sends the second for either
        return LimitExceeded(
            f"it needs more than {limits.cpu_s} s of computing, or more memory than there is"
        )
    if code == -signal.SIGXFSZ or "File too large" in log:
        return LimitExceeded(f"it becomes larger than {limits.file_bytes:,} bytes")
    if "Cannot allocate memory" in log:
        return LimitExceeded(f"it needs more than {limits.memory_bytes:,} bytes of memory")
    return Unreadable(last_words(log) or f"ffmpeg ended with {code}", log)


def last_words(log: str) -> str:
    """The line that says most about what went wrong, without addresses of memory and our paths."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [line for line in lines if "Error opening" not in line and "Conversion failed" not in line]
    line = (told or lines or [""])[-1]
    while line.startswith("["):
        line = line.partition("]")[2].strip()
    return " ".join(word for word in line.split() if "file:" not in word)[:300]


async def _progress(descriptor: int, on_progress: Progress | None) -> None:
    """Read what `-progress` writes, until the other end is closed."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        async for line in reader:
            name, _, value = line.decode().strip().partition("=")
            if on_progress is not None and name == "out_time_us" and value.lstrip("-").isdecimal():
                on_progress(max(0, int(value)) / 1e6)
    finally:
        transport.close()
