"""What is due is done, several at a time; being asked to stop leaves nothing half done."""

from __future__ import annotations

import asyncio
import time

import pytest
from psycopg import OperationalError

from indexer import duties
from indexer.duties import Duty


class Work:
    """Items that take `takes_s` each, or as long as it wants where that is None."""

    def __init__(self, items: int, takes_s: float | None) -> None:
        self.waiting = list(range(items))
        self.begun: list[int] = []
        self.done: list[int] = []
        self._takes_s = takes_s

    async def take(self, limit: int) -> list[int]:
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    async def work(self, item: int) -> None:
        self.begun.append(item)
        if self._takes_s is None:
            await asyncio.Event().wait()
        await asyncio.sleep(self._takes_s or 0)
        self.done.append(item)


async def _begun(work: Work, count: int) -> None:
    async with asyncio.timeout(10):
        while len(work.begun) < count:
            await asyncio.sleep(0.001)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_asked_to_stop_finishes_what_it_has_begun_and_begins_nothing() -> None:
    work = Work(5, takes_s=0.1)
    running = asyncio.create_task(Duty("test", take=work.take, work=work.work, at_once=2).run())
    await _begun(work, 2)
    await _stop(running)
    assert work.done == [0, 1]
    assert work.begun == [0, 1]


async def test_what_has_no_end_does_not_hold_up_the_stop() -> None:
    work = Work(3, takes_s=None)
    running = asyncio.create_task(Duty("test", take=work.take, work=work.work).run())
    await _begun(work, 3)
    began = time.monotonic()
    await _stop(running)
    assert duties.LINGER_S <= time.monotonic() - began < 5
    assert not work.done


async def test_a_database_that_is_away_is_waited_for() -> None:
    work, tries = Work(3, takes_s=0), 0

    async def take(limit: int) -> list[int]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OperationalError("away")
        return await work.take(limit)

    running = asyncio.create_task(Duty("test", take=take, work=work.work, pause_s=0.01).run())
    await _begun(work, 3)
    await _stop(running)
    assert work.done == [0, 1, 2]
