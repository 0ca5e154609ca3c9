"""Work that rows say is due: taken under a lease, several at a time, and never one behind another's delay.

    Duty("accounts", take=…, work=…)      take(n): up to n due items, leased;  work(item): all about one

A crash or a database that is away loses nothing: the lease runs out and the item is due again. Whoever is
asked to stop finishes what was begun, for a moment, so that nobody waits for a lease because of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

import structlog

from storage.postgres import AWAY

log = structlog.get_logger()
T = TypeVar("T")

AT_ONCE = 40
PAUSE_S = 1.0
LINGER_S = 2.0  # all of plyr stops within 5


class Duty(Generic[T]):
    """Looks for due items every `pause_s` seconds, and at once when woken."""

    def __init__(
        self,
        name: str,
        *,
        take: Callable[[int], Awaitable[Collection[T]]],
        work: Callable[[T], Coroutine[Any, Any, None]],
        at_once: int = AT_ONCE,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._name = name
        self._take = take
        self._work = work
        self._at_once = at_once
        self._pause_s = pause_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        running: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as tasks:
            try:
                await self._go_on(tasks, running)
            finally:
                if running:
                    await asyncio.wait(running, timeout=LINGER_S)

    async def _go_on(self, tasks: asyncio.TaskGroup, running: set[asyncio.Task[None]]) -> None:
        while True:
            self._woken.clear()
            free = self._at_once - len(running)
            items = await self._taken(free)
            for item in items:
                task = tasks.create_task(self._done(item))
                running.add(task)
                task.add_done_callback(running.discard)
            if len(running) == self._at_once:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            elif len(items) < free:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_s):
                        await self._woken.wait()

    async def once(self) -> int:
        """Everything that is due now. Returns how many items those were."""
        count = 0
        while items := await self._take(self._at_once):
            async with asyncio.TaskGroup() as tasks:
                for item in items:
                    tasks.create_task(self._work(item))
            count += len(items)
        return count

    async def _taken(self, limit: int) -> Collection[T]:
        try:
            return await self._take(limit)
        except AWAY as error:
            self._waiting(error)
            return []

    async def _done(self, item: T) -> None:
        try:
            await self._work(item)
        except AWAY as error:
            self._waiting(error)

    def _waiting(self, error: Exception) -> None:
        log.warning("waiting for the database", duty=self._name, error=str(error).strip())
