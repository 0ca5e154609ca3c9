"""Requests at a fixed rate, each at its moment whether or not the one before is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from tests.bench.measure import require_equal


@dataclass(frozen=True, slots=True)
class Answers:
    """`late_ms`: how late the latest question was asked, which then is not the server's."""

    p50_ms: float
    p99_ms: float
    late_ms: float


async def ask(
    client: aiohttp.ClientSession,
    port: int,
    questions: Sequence[tuple[str, str]],
    *,
    count: int,
    per_second: float,
    status: int = 200,
) -> Answers:
    """How long answers took, from when each was due. Raises WrongAnswer for one of another
    status. `questions` are paths, each with the key of who asks, and come again when they are over."""
    loop = asyncio.get_running_loop()
    took: list[float] = []

    async def one(path: str, key: str, due: float) -> None:
        headers = {"authorization": f"Bearer {key}"}
        url = f"http://127.0.0.1:{port}{path}"
        async with client.get(url, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            require_equal(f"status of {path}", answer.status, status)
        took.append(time.perf_counter() - due)

    path, key = questions[0]
    await one(path, key, time.perf_counter())  # so that nobody waits for a connection
    took.clear()
    begun, clock, late = loop.time(), time.perf_counter(), 0.0
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            after = number / per_second
            await asyncio.sleep(max(0.0, begun + after - loop.time()))
            late = max(late, loop.time() - begun - after)
            path, key = questions[number % len(questions)]
            group.create_task(one(path, key, clock + after))
    took.sort()
    return Answers(took[len(took) // 2] * 1e3, took[int(len(took) * 0.99)] * 1e3, late * 1e3)
