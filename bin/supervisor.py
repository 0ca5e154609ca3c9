"""Keeps a child process alive: starts it, passes on what it says, starts it again when it ends.

    running → (ended) → waiting → running → … → stopped

The wait doubles from 1 s to 30 s, and begins anew after 60 healthy seconds. A child that
ends with exit code 2 says that its settings are wrong: that does not get better, and it is
`Unusable`. A child lives no longer than its supervisor: its stdin is a pipe that closes
with it (see bin.status.end_with_parent).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bin.settings import ROOT
from bin.status import PartStatus, read_status

HEALTHY_S = 60
LONGEST_WAIT_S = 30


class Unusable(Exception):
    """A child says that its settings are wrong; it said which on its stderr."""


class PartState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"  # it has reported
    WAITING = "waiting"  # it ended, and will be started again
    STOPPED = "stopped"


@dataclass
class Part:
    """One supervised child: what it is, and what is known about it now. `arguments` follow its name on
    the command line."""

    name: str
    state: PartState = PartState.STARTING
    status: PartStatus = field(default_factory=PartStatus)
    starts: int = 0
    retry_at: float = 0  # monotonic, while waiting
    arguments: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        return (self.name, *self.arguments)


class Supervisor:
    """Runs one part until it is told to stop. `say` gets a line for a person, without its line feed."""

    def __init__(self, part: Part, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.part = part
        self._environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`; raises Unusable."""
        wait_s = 1.0
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                break
            if code == 2:
                raise Unusable(self.part.name)
            if time.monotonic() - started >= HEALTHY_S:
                wait_s = 1.0
            self._say(f"{self.part.name} {_ending(code)}, starting it again in {wait_s:g} s")
            self.part.state = PartState.WAITING
            self.part.status = PartStatus()
            self.part.retry_at = time.monotonic() + wait_s
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        self.part.state = PartState.STOPPED

    def stop(self) -> None:
        """Ask the child to end, and never start it again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _run_once(self) -> int:
        self.part.state = PartState.STARTING
        self.part.starts += 1
        report, reported = os.pipe()
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "bin.cli", *self.part.command, "--status-fd", str(reported)),
                env=self._environment,
                stdin=asyncio.subprocess.PIPE,  # the lifeline: nothing is ever written
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(reported,),
                start_new_session=True,  # a Ctrl-C reaches it through us
            )
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(reported)
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        assert process.stdout
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pass_on(process.stdout))
            tasks.create_task(self._follow(report))
            code = await process.wait()
        assert process.stdin
        process.stdin.close()
        return code

    async def _pass_on(self, lines: asyncio.StreamReader) -> None:
        async for line in _lines(lines):
            self._say(line.decode(errors="replace").rstrip())

    async def _follow(self, report: int) -> None:
        """Take over what the child reports, until it closes its end."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(report, "rb", 0)
        )
        async for line in _lines(reader):
            status = read_status(line)
            if status:
                self.part.status = status
                self.part.state = PartState.RUNNING
        transport.close()


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Lines, of which one that is longer than the reader's limit comes in pieces."""
    while True:
        try:
            line = await reader.readuntil()
        except asyncio.IncompleteReadError as error:
            if error.partial:
                yield error.partial
            return
        except asyncio.LimitOverrunError as error:
            line = await reader.readexactly(error.consumed)
        yield line


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return "ended" if code == 0 else f"failed with exit code {code}"
