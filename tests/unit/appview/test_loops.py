"""appview/loops.py: what a loop raises is logged at once, and a moment later the loop begins anew."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from appview import loops


async def test_a_loop_that_breaks_is_told_at_once_and_begins_anew() -> None:
    begun = asyncio.Queue[int]()
    count = 0

    async def loop() -> None:
        nonlocal count
        count += 1
        begun.put_nowait(count)
        if count < 3:
            raise ValueError(f"time {count}")
        await asyncio.Event().wait()

    with capture_logs() as logs:
        task = loops.begin("of a test", loop, again_s=0)
        assert [await begun.get() for _ in range(3)] == [1, 2, 3]
        told = [(each["event"], each["loop"], each["log_level"]) for each in logs]
        assert told == [("a loop broke, it begins anew", "of a test", "error")] * 2
        assert not task.done()
        await loops.end(task)
    assert task.cancelled()
    assert count == 3


async def test_a_loop_that_returns_is_over() -> None:
    count = 0

    async def loop() -> None:
        nonlocal count
        count += 1

    async with loops.beside("of a test", loop):
        for _ in range(3):
            await asyncio.sleep(0)
    assert count == 1


async def test_it_ends_with_its_block_whatever_that_comes_to() -> None:
    ended: list[str] = []

    async def loop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("loop")

    async def block() -> None:
        async with loops.beside("of a test", loop):
            await asyncio.sleep(0)
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        await block()
    assert ended == ["loop"]


async def test_who_waits_for_an_end_may_be_cancelled() -> None:
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)

    task = loops.begin("slow", slow)
    await asyncio.sleep(0)
    ending = asyncio.create_task(loops.end(task))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    await asyncio.wait([task])
    assert task.cancelled()
