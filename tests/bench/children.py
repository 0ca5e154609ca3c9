"""Contestants run in processes of their own, so that one's memory, caches and garbage are not the other's.

A child reads one line of JSON (its task) from standard input, and answers in lines of JSON
on standard output. A child that serves goes on until its standard input closes, so none
outlives the benchmark, however that ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.bench.measure import Sample

ROOT = Path(__file__).resolve().parents[2]


class ChildFailed(Exception):
    """A contestant ended without an answer; its last words are above."""


class Child:
    """A running contestant. Use as a context manager: leaving it closes its input and waits for its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(
        cls,
        module: str,
        task: Mapping[str, Any],
        *,
        core: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Run `python -m module`, pinned to `core`, and hand it its task."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**26,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({**task, "core": core}).encode() + b"\n")
        await process.stdin.drain()
        return cls(process)

    async def answer(self, timeout_s: float) -> Any:
        """The child's next line. Raises ChildFailed when it ends first, TimeoutError when it is too slow."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        if not line:
            code = await self._process.wait()
            raise ChildFailed(f"process {self.pid} ended with exit code {code}")
        return json.loads(line)

    async def nudge(self) -> None:
        """An empty line of input, for a child that answers whenever one comes."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()

    async def __aenter__(self) -> Child:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def sample_json(sample: Sample) -> dict[str, float]:
    return {
        "n": sample.n,
        "wall_s": sample.wall_s,
        "cpu_s": sample.cpu_s,
        "peak_bytes": sample.peak_bytes,
    }


def sample_of(answer: Mapping[str, Any]) -> Sample:
    return Sample(answer["n"], answer["wall_s"], answer["cpu_s"], answer["peak_bytes"])


def read_task() -> dict[str, Any]:
    """The task of this child; pins the process as the task says."""
    task: dict[str, Any] = json.loads(sys.stdin.readline())
    machine.pin(task.get("core"))
    return task


def say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def until_input_closes() -> None:
    """Returns when the parent closes our standard input, or dies."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass


def main(body: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Run a child's body on its task."""
    task = read_task()

    async def run() -> None:
        await body(task)

    asyncio.run(run())
