"""Tables `track_media`, `track_revision`: the blobs of tracks that were made here, and what they were before.

    begin ─▶ publish ─▶ … revise … ─▶ remove
      └─▶ give_up

A sound that a track is to be given begins as a track of its own, under the job's name: give_up + revise.
A row and the owners of its blobs change in one transaction. Nobody has the same original twice: the second
`begin` finds who has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from lexicons.syntax import AtUri, Did, Nsid, Rev, Rkey
from storage.blobs import rows
from storage.postgres import Connection
from storage.queries import load

_SQL = load("track_media")

OWNER = "track"


def owner_of(did: Did, rkey: Rkey, revision: int | None = None) -> str:
    """How a track, or its revision, is called as an owner of blobs."""
    return f"{did}/{rkey}" if revision is None else f"{did}/{rkey}/{revision}"


@dataclass(frozen=True, slots=True)
class TrackMedia:
    """A row; ids are of blobs. `published_at` None: its record is not on the PDS yet."""

    did: Did
    rkey: Rkey
    original_id: int | None
    stream_id: int | None
    cover_id: int | None
    job_id: UUID | None
    published_at: datetime | None

    @property
    def blobs(self) -> frozenset[int]:
        found = (self.original_id, self.stream_id, self.cover_id)
        return frozenset(id for id in found if id is not None)


@dataclass(frozen=True, slots=True)
class Revision:
    """What a track sounded like until `replaced_at`; ids are of blobs. `original_file_type` None: what is
    played is what was uploaded."""

    revision: int
    replaced_at: datetime
    original_id: int
    stream_id: int
    file_type: str
    duration_s: float
    original_file_type: str | None


async def begin(conn: Connection, did: Did, rkey: Rkey, original_id: int, job_id: UUID) -> TrackMedia:
    """The track that has this original: the one asked for, whose row is there now, or another."""
    params = {"did": did, "rkey": rkey, "original_id": original_id, "job_id": job_id}
    await conn.execute(_SQL["drop_stale"], params)
    await conn.execute(_SQL["begin"], params)
    found = await _one(conn, "holder", params)
    assert found is not None  # either was inserted, or stood in its way
    return found


async def get(conn: Connection, did: Did, rkey: Rkey) -> TrackMedia | None:
    """Locked until the transaction ends."""
    return await _one(conn, "get", {"did": did, "rkey": rkey})


async def holder(conn: Connection, did: Did, original_id: int) -> TrackMedia | None:
    """The track of this account that has this original."""
    return await _one(conn, "holder", {"did": did, "original_id": original_id})


async def publish(conn: Connection, did: Did, rkey: Rkey, *, stream_id: int, cover_id: int | None) -> bool:
    """Its record is there. False: the track is not. Raises BeingDeleted where a blob is not."""
    params = {"did": did, "rkey": rkey, "stream_id": stream_id, "cover_id": cover_id}
    await conn.execute(_SQL["publish"], params)
    found = await get(conn, did, rkey)
    if found is None:
        return False
    await _claim(conn, found.blobs, owner_of(did, rkey))
    return True


async def adopt(conn: Connection, did: Did, rkey: Rkey, original_id: int, job_id: UUID) -> None:
    """There is such a track after all: its row is there, or back, though without the original where another
    track has that by now."""
    await conn.execute(
        _SQL["begin"], {"did": did, "rkey": rkey, "original_id": original_id, "job_id": job_id}
    )
    await _ensured(conn, did, rkey)


async def give_up(conn: Connection, did: Did, job_id: UUID) -> None:
    """The job ends without a track of its own."""
    await conn.execute(_SQL["give_up"], {"did": did, "job_id": job_id})


async def keep(conn: Connection, did: Did, rkey: Rkey, blob_id: int) -> None:
    """Own one more blob, which the record will soon name. Raises BeingDeleted."""
    await _ensured(conn, did, rkey)
    await rows.claim(conn, blob_id, kind=OWNER, owner=owner_of(did, rkey))


async def let_go(conn: Connection, did: Did, rkey: Rkey, blob_id: int) -> None:
    """Own it no more, unless it is in use."""
    used = await get(conn, did, rkey)
    if used is None or blob_id not in used.blobs:
        await rows.release(conn, kind=OWNER, owner=owner_of(did, rkey), id=blob_id)


async def recover(conn: Connection, did: Did, rkey: Rkey, cover_id: int | None) -> None:
    """Give it another cover, or none."""
    await _ensured(conn, did, rkey)
    await conn.execute(_SQL["recover"], {"did": did, "rkey": rkey, "cover_id": cover_id})
    await settle(conn, did, rkey)


async def revise(
    conn: Connection,
    did: Did,
    rkey: Rkey,
    *,
    original_id: int,
    stream_id: int,
    keep: int,
) -> None:
    """Give it another sound, and keep what it was as its newest revision, of which `keep` stay. Said again it
    changes nothing. Raises psycopg's UniqueViolation where another track has this original."""
    before = await _ensured(conn, did, rkey)
    if before.original_id == original_id:
        return
    kept = await (await conn.execute(_SQL["keep_revision"], {"did": did, "rkey": rkey})).fetchone()
    if kept is not None:
        revision, *ids = kept
        await _claim(conn, {id for id in ids if id is not None}, owner_of(did, rkey, revision))
    params = {"did": did, "rkey": rkey, "original_id": original_id, "stream_id": stream_id}
    await conn.execute(_SQL["resound"], params)
    await settle(conn, did, rkey)
    cursor = await conn.execute(_SQL["drop_revisions"], {"did": did, "rkey": rkey, "keep": keep})
    for (revision,) in await cursor.fetchall():
        await rows.release(conn, kind=OWNER, owner=owner_of(did, rkey, revision))


async def revisions(conn: Connection, did: Did, rkey: Rkey) -> list[Revision]:
    """The newest first."""
    async with conn.cursor(row_factory=class_row(Revision)) as cursor:
        await cursor.execute(_SQL["revisions"], {"did": did, "rkey": rkey})
        return await cursor.fetchall()


async def remove(conn: Connection, did: Did, rkey: Rkey) -> None:
    """The track is gone; the collector takes what nobody else has."""
    await get(conn, did, rkey)  # what somebody is giving it is not seen before that is committed
    await conn.execute(_SQL["release"], {"did": did, "rkey": rkey})
    await conn.execute(_SQL["remove"], {"did": did, "rkey": rkey})


async def left_behind(
    conn: Connection, collection: Nsid, *, age_s: float, limit: int
) -> list[tuple[Did, Rkey]]:
    """Tracks whose record was deleted, wherever that was, or whose account is forgotten. Locked."""
    params = {"collection": collection, "age_s": age_s, "limit": limit}
    cursor = await conn.execute(_SQL["left_behind"], params)
    return [(Did(did), Rkey(rkey)) for did, rkey in await cursor.fetchall()]


async def erase(conn: Connection, did: Did) -> None:
    """Everything of somebody's tracks, and what they are sending; their jobs are `storage.jobs`' own. The
    collector takes what nobody else has, and what was staged. To be called after `jobs.erase`: a step that is
    under way holds its job first, then its track."""
    await conn.execute(_SQL["hold"], {"did": did})
    await conn.execute(_SQL["release"], {"did": did, "rkey": None})
    await conn.execute(_SQL["erase"], {"did": did})
    await conn.execute(_SQL["erase_uploads"], {"did": did})


async def version(
    conn: Connection, did: Did, collection: Nsid, rkey: Rkey
) -> tuple[Rev, bytes | None] | None:
    """The version of a record that the index holds, as DAG-CBOR; None in it: it was deleted."""
    params = {"did": did, "collection": collection, "rkey": rkey}
    row = await (await conn.execute(_SQL["version"], params)).fetchone()
    return None if row is None else (Rev(row[0]), row[1])


async def track_id(conn: Connection, uri: AtUri | str) -> int | None:
    """The number under which the index knows a track."""
    row = await (await conn.execute(_SQL["track_id"], {"uri": uri})).fetchone()
    return None if row is None else int(row[0])


async def is_deleted(conn: Connection, did: Did, collection: Nsid, rkey: Rkey) -> bool:
    """Whether the track that was begun is gone, here or, as the firehose proves, on its PDS."""
    params = {"did": did, "collection": collection, "rkey": rkey}
    row = await (await conn.execute(_SQL["is_deleted"], params)).fetchone()
    return row is not None and bool(row[0])


async def artist(conn: Connection, did: Did) -> str:
    """How the account is called."""
    row = await (await conn.execute(_SQL["artist"], {"did": did})).fetchone()
    return did if row is None else str(row[0])


async def of_id(conn: Connection, id: int) -> tuple[Did, Rkey] | None:
    """Whose track this is, if it is one, and its key."""
    row = await (await conn.execute(_SQL["of_id"], {"id": id})).fetchone()
    return None if row is None else (Did(row[0]), Rkey(row[1]))


async def _ensured(conn: Connection, did: Did, rkey: Rkey) -> TrackMedia:
    """Its row; a track that was made elsewhere has none until it needs one."""
    await conn.execute(_SQL["ensure"], {"did": did, "rkey": rkey})
    found = await get(conn, did, rkey)
    assert found is not None
    return found


async def settle(conn: Connection, did: Did, rkey: Rkey) -> None:
    """Own what the track has now, and nothing else."""
    has, owner = await _ensured(conn, did, rkey), owner_of(did, rkey)
    await _claim(conn, has.blobs, owner)
    for blob in await rows.owned(conn, kind=OWNER, owner=owner):
        if blob.id not in has.blobs:
            await rows.release(conn, kind=OWNER, owner=owner, id=blob.id)


async def _claim(conn: Connection, ids: frozenset[int] | set[int], owner: str) -> None:
    for id in sorted(ids):
        await rows.claim(conn, id, kind=OWNER, owner=owner)


async def _one(conn: Connection, statement: str, params: Mapping[str, object]) -> TrackMedia | None:
    async with conn.cursor(row_factory=class_row(TrackMedia)) as cursor:
        await cursor.execute(_SQL[statement], params)
        return await cursor.fetchone()
