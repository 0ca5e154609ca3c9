"""Counts plays. Those of one track that come while others of it are being written are written together: what
waits for the same counter waits for one commit, not for one each."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from weakref import WeakValueDictionary

import psycopg

from storage import plays
from storage.plays import Counted, Listener
from storage.postgres import Pool

MOST = 1000  # plays in one statement

_Waiting = dict[asyncio.Future[Counted | None], Listener]


class PlayCounter:
    """`per_address`: see `storage.plays`; 0: any number counts."""

    def __init__(self, pool: Pool, *, per_address: int = 0) -> None:
        self._pool = pool
        self._per_address = per_address
        self._waiting: dict[int, _Waiting] = {}
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def count(self, track_id: int, listener: Listener) -> Counted | None:
        """A play, durably counted or found to be no new one; None where the track cannot be seen."""
        if not self._per_address:
            listener = replace(listener, address=None)
        answer: asyncio.Future[Counted | None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(track_id, {})
        waiting[answer] = listener
        lock = self._locks.setdefault(track_id, asyncio.Lock())
        try:
            async with lock:
                while not answer.done():
                    await self._write(track_id, waiting)
            return answer.result()
        finally:
            waiting.pop(answer, None)
            if not waiting and self._waiting.get(track_id) is waiting:
                del self._waiting[track_id]

    async def _write(self, track_id: int, waiting: _Waiting) -> None:
        """Write those who came first. If this is cancelled they still wait, and the next of them writes."""
        batch = _first(waiting)
        # A listener may be there twice: the second is the same play.
        listeners = {listener.digest: listener for listener in batch.values()}
        try:
            async with self._pool.connection() as conn:
                counted = await plays.record(
                    conn, track_id, list(listeners.values()), per_address=self._per_address
                )
        except psycopg.Error as error:
            for answer in batch:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for answer in batch:
                if not answer.done():
                    answer.set_result(counted)
        finally:
            for answer in batch:
                if answer.done():
                    waiting.pop(answer, None)


def _first(waiting: _Waiting) -> _Waiting:
    """Those who came first; of an address one listener, since the next depends on whether this one counts."""
    batch: _Waiting = {}
    there: dict[bytes, bytes] = {}
    for answer, listener in waiting.items():
        if listener.address is None or there.setdefault(listener.address, listener.digest) == listener.digest:
            batch[answer] = listener
            if len(batch) == MOST:
                break
    return batch
