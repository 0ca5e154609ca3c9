"""Likes, given and taken back in a person's name.

    like      is there one? ─▶ write it under our key ─▶ in the index, with the PDS's answer
    unlike    all that we know of, one after the other, and what may be there though nobody answered

One turn at a time for a person and a track (appview/turns.py), so that of fifty likes at once one is written.
A like of which nobody knows whether it was written keeps its key, and the next try overwrites it. Whether it
is there in the end is for the revs to say: what was deleted at a later rev stays deleted, whenever the
firehose brings what was before.
"""

from __future__ import annotations

from appview.media.attempt import Place
from appview.own_records import OwnRecords
from appview.records import Away, Put, Record, WriteFailed, fresh_rkey, now_text
from appview.subjects import NoTrack, seen
from lexicons.syntax import AtUri, Did
from storage import remarks
from storage.postgres import Connection


class OwnLikes:
    """One person's, through the grant of one session."""

    def __init__(self, place: Place, session_id: int, did: Did) -> None:
        self._place = place
        self._did = did
        self._collection = place.catalog.collections.like
        self._records = OwnRecords(place, session_id, did, self._collection)

    async def like(self, track_id: int) -> AtUri | None:
        """The like that was written; None: there is one already. Raises NoTrack, NoRecord, WriteFailed."""
        place, did = self._place, self._did
        async with place.turns.take(place.pool, did, _what(track_id), rkey=fresh_rkey()) as turn:
            async with place.pool.connection() as conn:
                track = await seen(conn, track_id)
                known = await remarks.likes(conn, did, track_id)
            if known:
                turn.open = turn.open and turn.rkey not in known
                return None
            record = {"$type": self._collection, "subject": track.ref, "createdAt": now_text()}
            assert turn.rkey is not None
            before, turn.open = turn.open, True

            async def effect(conn: Connection, _put: Put, _newest: Record) -> None:
                known.extend(await remarks.likes(conn, did, track_id))
                await turn.end(conn)

            try:
                put = await self._records.write(turn.rkey, record, effect=effect)
            except WriteFailed as error:
                turn.open = before or isinstance(error, Away)
                raise
            if any(rkey != turn.rkey for rkey in known):  # another app's, meanwhile
                await self._records.remove(turn.rkey)
                return None
            return AtUri(put.uri)

    async def unlike(self, track_id: int) -> None:
        """There is no like of theirs any more. Raises NoTrack, WriteFailed."""
        place, did = self._place, self._did
        async with place.turns.take(place.pool, did, _what(track_id)) as turn:
            async with place.pool.connection() as conn:
                known = await remarks.likes(conn, did, track_id)
                if not known and turn.rkey is None and await remarks.subject(conn, track_id) is None:
                    raise NoTrack
            if turn.rkey is not None and turn.rkey not in known:
                known.append(turn.rkey)
            for rkey in known:
                await self._records.remove(rkey)
            turn.open = False


def _what(track_id: int) -> str:
    return f"like {track_id}"
