"""Loops that run beside requests and jobs, where nobody waits who could hear that one broke.

Contract: what a loop raises is logged at once, and a moment later the loop begins anew. It ends where it
returns, or is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

log = structlog.get_logger()

AGAIN_S = 1.0

Loop = Callable[[], Awaitable[None]]


def begin(name: str, loop: Loop, *, again_s: float = AGAIN_S) -> asyncio.Task[None]:
    """Its task, for `end`."""
    return asyncio.create_task(_kept(name, loop, again_s), name=name)


async def end(task: asyncio.Task[Any]) -> None:
    """Cancels it, and waits until it is over. What it raised is not raised here."""
    task.cancel()
    await asyncio.wait([task])


@asynccontextmanager
async def beside(name: str, loop: Loop) -> AsyncIterator[None]:
    """It runs as long as the block lasts."""
    task = begin(name, loop)
    try:
        yield
    finally:
        await end(task)


async def _kept(name: str, loop: Loop, again_s: float) -> None:
    while True:
        try:
            return await loop()
        except Exception:
            log.exception("a loop broke, it begins anew", loop=name)
        await asyncio.sleep(again_s)
