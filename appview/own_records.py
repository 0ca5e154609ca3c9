"""Records that are there already, changed in the name of whoever they belong to.

    rewrite   read the whole record ─▶ change it ─▶ write it in place of what was read, else begin anew
    remove    the record goes, wherever it was

What is changed is the record as it lies on the PDS: fields that we don't know survive. What the PDS answers
is in the index in the transaction of what follows from it; whoever dies before that leaves it to the echo.

Those who change the same record here do so one after the other, so that fifty at once are fifty changes and
not a race that a few win. That is politeness alone: who waited for long enough goes ahead, and where somebody
else came in between, it is read again, after a while of random length, a bounded number of times.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from appview.media.attempt import Place
from appview.records import NotSignedIn, Put, Record, Records, Swapped
from appview.turns import Busy
from indexer.written import take_in
from lexicons.datamodel import decode, to_json
from lexicons.syntax import Did, Nsid, Rkey
from storage import deletions, track_media
from storage.postgres import Connection

_MOST_SWAPS = 12
_WAIT_S = 0.05  # after the first; twice as long, at most, after each further one, up to _MOST_WAIT_S
_MOST_WAIT_S = 1.0

Change = Callable[[Record], Record]
Effect = Callable[[Connection, Put, Record], Awaitable[object]]


class NoSuchRecord(Exception):
    """There is no such record on the PDS."""


class OwnRecords:
    """One person's of one collection, through the grant of one session."""

    def __init__(self, place: Place, session_id: int, did: Did, collection: Nsid) -> None:
        self._place = place
        self._did = did
        self._records = Records(place.pds, session_id, did)
        self._collection = collection

    def uri(self, rkey: Rkey) -> str:
        return f"at://{self._did}/{self._collection}/{rkey}"

    async def write(
        self, rkey: Rkey, record: Record, *, effect: Effect | None = None, fresh: bool = False
    ) -> Put:
        """A new record under a key that was made for it. Raises WriteFailed; `fresh`: Swapped, where there is
        one already; NotSignedIn in the name of who is being deleted here: what came behind their backs would
        stay."""
        async with self._turn(rkey):
            # After the turn was taken: a deletion that begins now waits for it.
            async with self._place.pool.connection() as conn:
                if await deletions.is_leaving(conn, self._did):
                    raise NotSignedIn("the account is being deleted")
            put = await self._records.put(self._collection, rkey, record, fresh=fresh)
            await self._index(rkey, put, record, effect)
            return put

    async def rewrite(self, rkey: Rkey, change: Change, *, effect: Effect | None = None) -> Put:
        """The record after `change`, which may be asked more than once. `effect` is in the transaction that
        indexes it, and is told the newest version that is known: where somebody else's came in first, what is
        to follow from this one may be over. Raises NoSuchRecord, what `change` raises, WriteFailed; Swapped
        only where somebody else never stops writing."""
        async with self._turn(rkey):
            for tries in range(1, _MOST_SWAPS + 1):
                found = await self._records.get(self._collection, rkey)
                if found is None:
                    raise NoSuchRecord(self.uri(rkey))
                after = change(found.value)
                put = Put(self.uri(rkey), found.cid, None)
                try:
                    if after != found.value:
                        put = await self._records.put(self._collection, rkey, after, swap=found.cid)
                except Swapped:
                    if tries == _MOST_SWAPS:
                        raise
                    await asyncio.sleep(random.uniform(0, min(_MOST_WAIT_S, _WAIT_S * 2.0**tries)))
                    continue
                await self._index(rkey, put, after, effect)
                return put
        raise AssertionError

    async def remove(
        self, rkey: Rkey, *, effect: Callable[[Connection], Awaitable[object]] | None = None
    ) -> None:
        """The record is gone. `effect` is in the transaction that says so. Raises WriteFailed."""
        write = await self._records.delete(self._collection, rkey)
        async with self._place.pool.connection() as conn, conn.transaction():
            if write is not None:
                await take_in(conn, write, self._place.catalog)
            if effect is not None:
                await effect(conn)

    @asynccontextmanager
    async def _turn(self, rkey: Rkey) -> AsyncIterator[None]:
        """As long as the block lasts, others wait for a while before they change this record."""
        async with AsyncExitStack() as stack:
            with suppress(Busy):
                what = f"{self._collection}/{rkey}"
                turn = self._place.turns.take(self._place.pool, self._did, what)
                await stack.enter_async_context(turn)
            yield

    async def _index(self, rkey: Rkey, put: Put, after: Record, effect: Effect | None) -> None:
        async with self._place.pool.connection() as conn, conn.transaction():
            # First: from here on others who write to this repo wait, and nobody who holds the track does.
            if put.write is not None:
                await take_in(conn, put.write, self._place.catalog)
            if effect is not None:
                await effect(conn, put, await self._newest(conn, rkey, put, after))

    async def _newest(self, conn: Connection, rkey: Rkey, put: Put, after: Record) -> Record:
        known = await track_media.version(conn, self._did, self._collection, rkey)
        if known is None or put.write is None or known[0] <= put.write.rev:
            return after
        return {} if known[1] is None else to_json(decode(known[1]))
