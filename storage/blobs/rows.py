"""Tables `blob`, `blob_owner`, `staged_upload`: which blobs there are, and who needs them.

Contract: an object exists only while its row does, and goes only when nobody owned it for the whole grace.

    reserve (row) ─▶ store.publish (object) ─▶ publish + claim, in the transaction of whoever owns it
    release ─▶ … grace … ─▶ take (row) ─▶ store.delete (object) ─▶ forget (row)

A crash after any step leaves what the collector finishes or undoes. Two that reserve the same bytes share a
row; one that reserves what is being deleted is told so (`BeingDeleted`) and tries again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg.errors import ForeignKeyViolation
from psycopg.rows import class_row

from storage.blobs.store import Area, BlobFailed, Digest, Key
from storage.postgres import Connection
from storage.queries import load

_SQL = load("blobs")


class BeingDeleted(BlobFailed):
    """The collector has this blob in its hands; in a moment it can be stored anew."""


class State(StrEnum):
    """PUBLISHING: its object may be there or not. DELETING: likewise, and nobody may own it any more."""

    PUBLISHING = "publishing"
    PUBLISHED = "published"
    DELETING = "deleting"


MOVES: dict[State, frozenset[State]] = {
    State.PUBLISHING: frozenset({State.PUBLISHED, State.DELETING}),
    State.PUBLISHED: frozenset({State.DELETING}),
    State.DELETING: frozenset(),  # the row goes
}


@dataclass(frozen=True, slots=True)
class Blob:
    """`unowned_at`: since when nobody owns it; None: somebody does."""

    id: int
    area: Area
    sha256: str
    bytes: int
    crc32: int
    mime: str
    state: State
    owners: int
    unowned_at: datetime | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", Area(self.area))
        object.__setattr__(self, "state", State(self.state))

    @property
    def key(self) -> Key:
        return Key(self.area, self.sha256)


@dataclass(frozen=True, slots=True)
class Upload:
    """Bytes on their way in. `bytes`: how many were promised."""

    name: str
    did: str
    bytes: int | None
    touched_at: datetime


async def reserve(conn: Connection, area: Area, digest: Digest, *, mime: str) -> Blob:
    """The row of this content, new or not. Where its state is PUBLISHED the object is there already.
    Raises BeingDeleted."""
    params = {
        "area": area,
        "sha256": bytes.fromhex(digest.sha256),
        "bytes": digest.size,
        "crc32": digest.crc32,
        "mime": mime,
    }
    found = await _one(conn, "reserve", params)
    if found is None:
        raise BeingDeleted(f"{area}/{digest.sha256} is being deleted")
    return found


async def publish(conn: Connection, id: int) -> None:
    """Say that the object is there. Raises BeingDeleted where that took longer than the grace."""
    if await (await conn.execute(_SQL["publish"], {"id": id})).fetchone() is None:
        raise BeingDeleted(f"blob {id} is being deleted")


async def claim(conn: Connection, id: int, *, kind: str, owner: str) -> int:
    """Own a published blob, once the caller's transaction commits; how many own it then. Raises BeingDeleted,
    and nothing is claimed."""
    params = {"id": id, "kind": kind, "owner": owner}
    try:
        async with conn.transaction():
            row = await (await conn.execute(_SQL["claim"], params)).fetchone()
            if row is None:
                raise BeingDeleted(f"blob {id} is not published")
    except ForeignKeyViolation:
        raise BeingDeleted(f"blob {id} is deleted") from None
    return int(row[0])


async def release(conn: Connection, *, kind: str, owner: str, id: int | None = None) -> list[int]:
    """Let go of one blob, or of all that this owner has. Returns their ids."""
    cursor = await conn.execute(_SQL["release"], {"kind": kind, "owner": owner, "id": id})
    return [int(row[0]) for row in await cursor.fetchall()]


async def owned(conn: Connection, *, kind: str, owner: str) -> list[Blob]:
    return await _all(conn, "owned", {"kind": kind, "owner": owner})


async def find(conn: Connection, key: Key) -> Blob | None:
    return await _one(conn, "by_key", {"area": key.area, "sha256": bytes.fromhex(key.sha256)})


async def get(conn: Connection, id: int) -> Blob | None:
    return await _one(conn, "by_id", {"id": id})


async def page(conn: Connection, area: Area, *, after: str, limit: int) -> list[Blob]:
    """The area's blobs in order of their keys, those behind the hash `after`, empty: from the first."""
    return await _all(conn, "page", {"area": area, "after": bytes.fromhex(after), "limit": limit})


async def take(conn: Connection, *, grace_s: float, lease_s: float, limit: int) -> list[Blob]:
    """Blobs to delete. Nobody else takes or owns them; after `lease_s` they are taken again."""
    return await _all(conn, "take", {"grace_s": grace_s, "lease_s": lease_s, "limit": limit})


async def forget(conn: Connection, id: int) -> None:
    await conn.execute(_SQL["forget"], {"id": id})


async def miscounted(conn: Connection) -> list[Blob]:
    """Blobs whose count of owners is not their number."""
    return await _all(conn, "miscounted", {})


async def upload(conn: Connection, name: str) -> Upload | None:
    async with conn.cursor(row_factory=class_row(Upload)) as cursor:
        await cursor.execute(_SQL["upload"], {"name": name})
        return await cursor.fetchone()


async def touch_upload(conn: Connection, name: str) -> None:
    await conn.execute(_SQL["touch_upload"], {"name": name})


async def end_upload(conn: Connection, name: str) -> None:
    await conn.execute(_SQL["end_upload"], {"name": name})


async def uploads(conn: Connection) -> list[Upload]:
    async with conn.cursor(row_factory=class_row(Upload)) as cursor:
        await cursor.execute(_SQL["uploads"])
        return await cursor.fetchall()


async def end_stale_upload(conn: Connection, name: str, *, keep_s: float) -> bool:
    """End an upload that stands still for that long. False: it moved, or a job waits for it, or it is not
    there."""
    row = await (await conn.execute(_SQL["end_stale_upload"], {"name": name, "keep_s": keep_s})).fetchone()
    return row is not None


async def _one(conn: Connection, statement: str, params: Mapping[str, object]) -> Blob | None:
    async with conn.cursor(row_factory=class_row(Blob)) as cursor:
        await cursor.execute(_SQL[statement], params)
        return await cursor.fetchone()


async def _all(conn: Connection, statement: str, params: Mapping[str, object]) -> list[Blob]:
    async with conn.cursor(row_factory=class_row(Blob)) as cursor:
        await cursor.execute(_SQL[statement], params)
        return await cursor.fetchall()
