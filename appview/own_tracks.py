"""Tracks that are there already, changed in their artist's name.

    rewrite   read the whole record ─▶ change it ─▶ write it in place of what was read, else begin anew
    delete    remove the record ─▶ the track lets go of its blobs

What is changed is the record as it lies on the PDS: fields that we don't know survive. A rewrite that would
take a blob out of it that the PDS keeps only for its sake is refused, unless it brings another sound. What
the PDS answers is in the index in the transaction of whatever follows from it; whoever dies before that
leaves it to the echo, and to the sweep of what was deleted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from appview.media.attempt import Place
from appview.records import Put, Record, Records, Swapped
from indexer.written import take_in
from lexicons.datamodel import decode, to_json
from lexicons.syntax import Did, Rkey
from storage import track_media
from storage.postgres import Connection

_MOST_SWAPS = 5

Change = Callable[[Record], Record]
Effect = Callable[[Connection, Put, Record], Awaitable[object]]


class NoSuchTrack(Exception):
    """There is no such record on the PDS."""


class DropsBlob(Exception):
    """The change would lose the audio that the PDS keeps."""


class OwnTracks:
    """One person's, through the grant of one session."""

    def __init__(self, place: Place, session_id: int, did: Did) -> None:
        self._place = place
        self._did = did
        self._records = Records(place.pds, session_id, did)
        self._collection = place.catalog.collections.track

    async def rewrite(
        self, rkey: Rkey, change: Change, *, new_sound: bool = False, effect: Effect | None = None
    ) -> Put:
        """The record after `change`, which may be asked more than once. `effect` is in the transaction that
        indexes it, and is told the newest version that is known: where somebody else's came in first, what is
        to follow from this one may be over. Raises NoSuchTrack, DropsBlob, what `change` raises, WriteFailed;
        Swapped only where somebody else never stops writing."""
        for left in reversed(range(_MOST_SWAPS)):
            found = await self._records.get(self._collection, rkey)
            if found is None:
                raise NoSuchTrack
            after = change(found.value)
            if not new_sound and found.value.get("audioBlob") not in (None, after.get("audioBlob")):
                raise DropsBlob("the audio on the PDS would be lost")
            uri = f"at://{self._did}/{self._collection}/{rkey}"
            try:
                put = Put(uri, found.cid, None)
                if after != found.value:
                    put = await self._records.put(self._collection, rkey, after, swap=found.cid)
            except Swapped:
                if not left:
                    raise
                continue
            await self._index(rkey, put, after, effect)
            return put
        raise AssertionError

    async def delete(self, rkey: Rkey) -> None:
        """The track is gone, wherever it was. Raises WriteFailed."""
        write = await self._records.delete(self._collection, rkey)
        async with self._place.pool.connection() as conn, conn.transaction():
            if write is not None:
                await take_in(conn, write, self._place.catalog)
            await track_media.remove(conn, self._did, rkey)

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
