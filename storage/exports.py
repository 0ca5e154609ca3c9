"""What goes into an export of somebody's tracks, and for how long an export is kept.

An export owns its blobs (kind `export`, owner its job's id): nothing of it is collected while it can be had.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from lexicons.syntax import AtUri, Cid, Did, Rkey
from storage.blobs.store import Area, Key
from storage.postgres import Connection
from storage.queries import load

_SQL = load("exports")

OWNER = "export"


@dataclass(frozen=True, slots=True)
class ExportedTrack:
    """A track in sight. `blob_id` and what follows: of the original, else of what is played; None where
    neither is stored here. `proof`: the CAR slice of the commit that wrote the record."""

    rkey: Rkey
    uri: AtUri
    cid: Cid
    title: str
    sort_at: datetime
    block: bytes | None
    proof: bytes | None
    plays: int
    likes: int
    comments: int
    original: bool
    duration_s: float | None
    blob_id: int | None
    area: str | None
    sha256: str | None
    bytes: int | None
    crc32: int | None
    mime: str | None

    @property
    def key(self) -> Key:
        assert self.area is not None
        assert self.sha256 is not None
        return Key(Area(self.area), self.sha256)


async def count(conn: Connection, did: Did) -> int:
    """How many tracks of theirs are in sight."""
    row = await (await conn.execute(_SQL["count"], {"did": did})).fetchone()
    return 0 if row is None else int(row[0])


async def wait(conn: Connection, did: Did) -> datetime | None:
    """When all that is being taken down of theirs is down: what will be is so later, as `may_have` knows.
    None: nobody is known by this DID."""
    row = await (await conn.execute(_SQL["wait"], {"did": did})).fetchone()
    return None if row is None else row[0]


async def page(conn: Connection, did: Did, *, after: str, limit: int) -> list[ExportedTrack]:
    """Their tracks in sight in order of the record keys, those behind `after`."""
    async with conn.cursor(row_factory=class_row(ExportedTrack)) as cursor:
        await cursor.execute(_SQL["page"], {"did": did, "after": after, "limit": limit})
        return await cursor.fetchall()


async def may_have(conn: Connection, id: UUID, did: Did) -> bool:
    """Whether the export still owns its blobs, its account is in sight, and nothing in it is down."""
    row = await (await conn.execute(_SQL["may_have"], {"owner": str(id), "did": did})).fetchone()
    return row is not None


async def expire(conn: Connection, *, keep_s: float) -> int:
    """Let go of all that exports own which were begun that long ago. Returns how many exports those are."""
    row = await (await conn.execute(_SQL["expire"], {"keep_s": keep_s})).fetchone()
    return 0 if row is None else int(row[0])
