"""The track that somebody likes, or says something about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lexicons.syntax import Did
from storage import remarks
from storage.postgres import Connection


class NoTrack(Exception):
    """There is no such track, or it cannot be seen."""


class NoRecord(Exception):
    """There is one, and its record is not on its artist's PDS: nothing can point at it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A track that can be seen. `ref`: its newest version as a strongRef, in JSON form."""

    ref: dict[str, Any]
    artist: Did


async def seen(conn: Connection, track_id: int) -> Seen:
    """Raises NoTrack, NoRecord."""
    found = await remarks.subject(conn, track_id)
    if found is not None and found.lost:
        raise NoRecord
    if found is None or found.cid is None or found.artist is None:
        raise NoTrack
    return Seen({"uri": found.uri, "cid": found.cid}, found.artist)
