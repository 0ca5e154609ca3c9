"""Tracks that are there already, changed in their artist's name, as `own_records` does it.

A rewrite that would take a blob out of the record that the PDS keeps only for its sake is refused, unless it
brings another sound. A deleted track lets go of its blobs; whoever dies before that leaves them to the sweep.
"""

from __future__ import annotations

from appview.media.attempt import Place
from appview.own_records import Change, Effect, NoSuchRecord, OwnRecords
from appview.records import Put, Record
from lexicons.syntax import Did, Rkey
from storage import track_media

__all__ = ["Change", "DropsBlob", "NoSuchTrack", "OwnTracks"]

NoSuchTrack = NoSuchRecord


class DropsBlob(Exception):
    """The change would lose the audio that the PDS keeps."""


class OwnTracks:
    """One person's, through the grant of one session."""

    def __init__(self, place: Place, session_id: int, did: Did) -> None:
        self._did = did
        self._records = OwnRecords(place, session_id, did, place.catalog.collections.track)

    async def rewrite(
        self, rkey: Rkey, change: Change, *, new_sound: bool = False, effect: Effect | None = None
    ) -> Put:
        """As `OwnRecords.rewrite`; raises DropsBlob, too."""

        def kept(record: Record) -> Record:
            after = change(record)
            if not new_sound and record.get("audioBlob") not in (None, after.get("audioBlob")):
                raise DropsBlob("the audio on the PDS would be lost")
            return after

        return await self._records.rewrite(rkey, kept, effect=effect)

    async def delete(self, rkey: Rkey) -> None:
        """The track is gone, wherever it was. Raises WriteFailed."""
        await self._records.remove(rkey, effect=lambda conn: track_media.remove(conn, self._did, rkey))
