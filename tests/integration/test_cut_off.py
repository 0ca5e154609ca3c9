"""Whoever opens a connection of their own closes it, wherever they are cancelled."""

from __future__ import annotations

import asyncio
import gc
import itertools
import types
import warnings
from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from appview.jobs.house import collect_blobs
from appview.jobs.schedule import Scheduler
from bin.kinds import job_queue
from storage import jobs, live
from storage.blobs.filesystem import FilesystemStore
from storage.migrate import migrate
from storage.size import database_bytes
from tests.acceptance.service import cursors

STEADY_S = 0.2  # after so long without a pause it waits for something that never comes

DAY = timedelta(days=1)
Work = Coroutine[Any, Any, object]


def _collecting(dsn: str, folder: Path) -> Work:
    run = collect_blobs(dsn, FilesystemStore(folder), grace=DAY, keep=DAY)
    return cast(Work, run(cast(Any, None)))


OPENERS: dict[str, Callable[[str, Path], Work]] = {
    "cursors": lambda dsn, _: cursors(dsn),
    "jobs.listen": lambda dsn, _: jobs.listen(dsn, lambda _: None),
    "live.listen": lambda dsn, _: live.listen(dsn, asyncio.Event()),
    "scheduler": lambda dsn, _: Scheduler(dsn, job_queue(), ()).run(),
    "collector": _collecting,
    "migrate": lambda dsn, _: migrate(dsn),
    "size": lambda dsn, _: database_bytes(dsn),
}


async def _cut(work: Work, nth: int) -> None:
    """Does the work in this task, and cancels it at its `nth` pause."""
    await _steps(work, nth)


@types.coroutine
def _steps(work: Work, nth: int) -> Generator[Any, Any, None]:
    task = asyncio.current_task()
    assert task is not None
    go: Callable[[Any], Any] = work.send
    sent: Any = None
    for number in itertools.count():
        try:
            pause = go(sent)
        except StopIteration:
            return
        if number == nth and not task.cancelling():  # once
            task.cancel()
        try:
            go, sent = work.send, (yield pause)
        except BaseException as error:  # noqa: BLE001 it is for the work
            go, sent = work.throw, error


async def _is_cut(work: Work, nth: int) -> bool:
    """Whether it came as far as to be cut off there; it is over."""
    task = asyncio.create_task(_cut(work, nth))
    done, _ = await asyncio.wait([task], timeout=STEADY_S)
    task.cancel()
    await asyncio.wait([task])
    return bool(done) and task.cancelled()


@pytest.mark.parametrize("opener", OPENERS)
async def test_cut_off_anywhere_it_leaves_no_connection_open(
    database: str, tmp_path: Path, opener: str
) -> None:
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pauses = 0
        while await _is_cut(OPENERS[opener](database, tmp_path), pauses):
            gc.collect()
            pauses += 1
        gc.collect()
    assert pauses > 1
    assert [str(each.message) for each in caught if each.category is ResourceWarning] == []
