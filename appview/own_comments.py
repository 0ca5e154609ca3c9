"""Comments on tracks, written, changed and deleted in their author's name.

    a place on the track ─▶ the record under our key ─▶ in the index, with the PDS's answer

A track has room for `MOST` comments that are written here; what the network brings, is there anyway. Places
are claimed before the PDS is asked, so that no more than that get in at once.
"""

from __future__ import annotations

from typing import Any

from appview.media.attempt import Place
from appview.own_records import OwnRecords
from appview.records import Away, Put, Record, WriteFailed, fresh_rkey, now_text
from appview.subjects import Seen
from lexicons.syntax import Did, Rkey
from storage import remarks
from storage.postgres import Connection

MOST = 20
CLAIM_S = 60.0


class TrackFull(Exception):
    """The track has as many comments as it may."""


class OwnComments:
    """One person's, through the grant of one session."""

    def __init__(self, place: Place, session_id: int, did: Did) -> None:
        self._place = place
        self._did = did
        self._collection = place.catalog.collections.comment
        self._records = OwnRecords(place, session_id, did, self._collection)

    async def add(self, track_id: int, track: Seen, text: str, timestamp_ms: int) -> Rkey:
        """The key of the comment. `text` and `timestamp_ms` are as the lexicon wants them. Raises TrackFull,
        WriteFailed."""
        rkey = fresh_rkey()
        async with self._place.pool.connection() as conn:
            if not await remarks.claim(conn, self._did, rkey, track_id, most=MOST, lease_s=CLAIM_S):
                raise TrackFull
        record: dict[str, Any] = {
            "$type": self._collection,
            "subject": track.ref,
            "text": text,
            "timestampMs": timestamp_ms,
            "createdAt": now_text(),
        }

        async def effect(conn: Connection, _put: Put, _newest: Record) -> None:
            await remarks.give_back(conn, self._did, rkey)

        try:
            await self._records.write(rkey, record, effect=effect)
        except WriteFailed as error:
            # Else it may be there: the place is free again by when the firehose has told of it.
            if not isinstance(error, Away):
                async with self._place.pool.connection() as conn:
                    await remarks.give_back(conn, self._did, rkey)
            raise
        return rkey

    async def edit(self, rkey: Rkey, text: str) -> None:
        """Raises NoSuchRecord, WriteFailed."""

        def change(record: Record) -> Record:
            if record.get("text") == text:
                return record
            return record | {"text": text, "updatedAt": now_text()}

        await self._records.rewrite(rkey, change)

    async def remove(self, rkey: Rkey) -> None:
        """It is gone. Raises WriteFailed."""
        await self._records.remove(rkey)
