"""Table `mirror`: tracks whose sound lies on their author's PDS, and how it went to fetch it.

find ─▶ due ─▶ wanted ─▶ put + settle            it is here; until the record has another version
                    └──▶ settle(error, wait_s)   due again then, or never

What is over a limit is left alone: `error` begins with OVER, and storage/health.py counts those.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from lexicons.syntax import Cid, Did, Nsid, Rkey
from storage import track_media
from storage.blobs import rows
from storage.postgres import Connection
from storage.queries import load

_SQL = load("mirrors")
OVER = "over the limit: "


@dataclass(frozen=True, slots=True)
class Wanted:
    """A track to be fetched. `pds`: origin of its account's current one; `block`: of the record."""

    did: Did
    rkey: Rkey
    record_cid: Cid
    attempts: int
    pds: str
    block: bytes
    collection: Nsid


@dataclass(frozen=True, slots=True)
class Used:
    """Bytes of sound that is mirrored: of everybody, and of one account's other tracks."""

    total: int
    account: int


@dataclass(frozen=True, slots=True)
class Changed:
    """A track whose record changed since its sound, of this hash, was fetched. `block`: of the record now."""

    did: Did
    rkey: Rkey
    record_cid: Cid
    collection: Nsid
    block: bytes
    stream_id: int
    sha256: bytes


async def changed(conn: Connection, collection: Nsid, *, limit: int) -> list[Changed]:
    async with conn.cursor(row_factory=class_row(Changed)) as cursor:
        await cursor.execute(_SQL["changed"], {"collection": collection, "limit": limit})
        return await cursor.fetchall()


async def keep(conn: Connection, track: Changed) -> None:
    """What is here is what this version names, too."""
    params = {"did": track.did, "rkey": track.rkey, "record_cid": track.record_cid}
    await conn.execute(_SQL["keep"], params)


async def let_go(conn: Connection, track: Changed) -> None:
    """Nobody hears it any more, in the caller's transaction; the collector takes it."""
    params = {"did": track.did, "rkey": track.rkey, "stream_id": track.stream_id}
    if (await conn.execute(_SQL["let_go"], params)).rowcount:
        owner = track_media.owner_of(track.did, track.rkey)
        await rows.release(conn, kind=track_media.OWNER, owner=owner, id=track.stream_id)


async def find(conn: Connection, *, limit: int) -> int:
    """Take note of tracks that nobody looked after yet. Returns how many those are."""
    await conn.execute(_SQL["drop_gone"])
    return (await conn.execute(_SQL["find"], {"limit": limit})).rowcount


async def due(conn: Connection, *, kind: str, per_pds: int, limit: int) -> list[tuple[Did, Rkey]]:
    """What is to be fetched now and has no job of this kind; no PDS gets more than `per_pds` of them."""
    cursor = await conn.execute(_SQL["due"], {"kind": kind, "per_pds": per_pds, "limit": limit})
    return [(Did(did), Rkey(rkey)) for did, rkey in await cursor.fetchall()]


async def used(conn: Connection, did: Did, rkey: Rkey) -> Used:
    """`account`: without this track. Of what is staged the store knows."""
    row = await (await conn.execute(_SQL["used"], {"did": did, "rkey": rkey})).fetchone()
    assert row is not None
    return Used(*row)


async def leave_over(conn: Connection, *, account_bytes: int, total_bytes: int, wait_s: float) -> int:
    """Leave alone what is due though there is no room for it. Returns how many tracks those are."""
    full = (await used(conn, Did(""), Rkey(""))).total >= total_bytes
    whose = "all mirrored sound" if full else "the mirrored sound of its account"
    params = {"all": full, "account_bytes": account_bytes, "wait_s": wait_s}
    error = f"{OVER}{whose} has as much room as it may"
    return (await conn.execute(_SQL["leave"], {**params, "error": error})).rowcount


async def wanted(conn: Connection, collection: Nsid, did: Did, rkey: Rkey) -> Wanted | None:
    """None where nothing is to be fetched any more, or not now."""
    async with conn.cursor(row_factory=class_row(Wanted)) as cursor:
        await cursor.execute(_SQL["wanted"], {"collection": collection, "did": did, "rkey": rkey})
        return await cursor.fetchone()


async def put(conn: Connection, wish: Wanted, stream_id: int) -> bool:
    """Have the track play this blob, and own it, in the caller's transaction. False: the track was deleted or
    changed meanwhile. Raises BeingDeleted."""
    params = {"did": wish.did, "rkey": wish.rkey, "record_cid": wish.record_cid, "stream_id": stream_id}
    row = await (await conn.execute(_SQL["put"], params)).fetchone()
    if row is None:
        return False
    owner = track_media.owner_of(wish.did, wish.rkey)
    await rows.claim(conn, stream_id, kind=track_media.OWNER, owner=owner)
    if row[0] is not None and row[0] != stream_id:
        await rows.release(conn, kind=track_media.OWNER, owner=owner, id=row[0])
    await settle(conn, wish, error=None, wait_s=None)
    return True


async def settle(conn: Connection, wish: Wanted, *, error: str | None, wait_s: float | None) -> None:
    """Write down how it went; `wait_s` None: it is never tried again with this version."""
    params = {"did": wish.did, "rkey": wish.rkey, "record_cid": wish.record_cid}
    await conn.execute(_SQL["settle"], {**params, "error": error, "wait_s": wait_s})


async def postpone(conn: Connection, did: Did, rkey: Rkey, *, wait_s: float) -> None:
    """Of one about which nothing was settled."""
    await conn.execute(_SQL["postpone"], {"did": did, "rkey": rkey, "wait_s": wait_s})


async def erase(conn: Connection, did: Did) -> None:
    """Forget their tracks, in the caller's transaction."""
    await conn.execute(_SQL["erase"], {"did": did})
