"""Who lets go of a track's blobs while somebody else gives it others lets go of those, too."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest

from lexicons.syntax import Did, Rkey
from storage import jobs, track_media
from storage.blobs import rows
from storage.blobs.store import Area, Digest
from storage.postgres import Connection

ANN = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
RKEY = Rkey("3mpt222222222")

Deed = Callable[[Connection], Awaitable[object]]


async def blob(conn: Connection, data: bytes) -> int:
    """One that nobody owns yet."""
    digest = Digest(hashlib.sha256(data).hexdigest(), 0, len(data))
    found = await rows.reserve(conn, Area.AUDIO, digest, mime="audio/mpeg")
    await rows.publish(conn, found.id)
    return found.id


async def job(conn: Connection) -> UUID:
    id = await jobs.add(conn, "upload", did=ANN, subject=None, args={})
    assert id is not None
    return id


async def track(conn: Connection, *, sound: bytes = b"old") -> None:
    """A track that is published."""
    id = await blob(conn, sound)
    async with conn.transaction():
        await track_media.begin(conn, ANN, RKEY, id, await job(conn))
        await track_media.publish(conn, ANN, RKEY, stream_id=id, cover_id=None)


async def one(conn: Connection, query: str, *params: object) -> Any:
    row = await (await conn.execute(query, params)).fetchone()  # type: ignore[arg-type]
    return None if row is None else row[0] if len(row) == 1 else row


async def while_uncommitted(conn: Connection, database: str, first: Deed, then: Deed) -> None:
    """`then` comes while `first` is not committed yet, and has to wait for it."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:

        async def waits() -> bool:
            query = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
            return bool(await one(conn, query, other.info.backend_pid))

        async def whole() -> None:
            async with other.transaction():
                await then(other)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group, conn.transaction():
            await first(conn)
            waiting = group.create_task(whole())
            while not await waits():
                assert not waiting.done()
                await asyncio.sleep(0.01)
    assert await rows.miscounted(conn) == []


@pytest.mark.parametrize(
    "leave",
    [
        lambda conn: track_media.remove(conn, ANN, RKEY),
        lambda conn: track_media.erase(conn, ANN),
    ],
    ids=["a track is deleted", "its account is"],
)
async def test_what_a_track_is_being_given_goes_with_it(conn: Connection, database: str, leave: Deed) -> None:
    await track(conn)
    sound, cover = await blob(conn, b"new"), await blob(conn, b"cover")

    async def give(conn: Connection) -> None:
        await track_media.revise(conn, ANN, RKEY, original_id=sound, stream_id=sound, keep=9)
        await track_media.recover(conn, ANN, RKEY, cover)

    await while_uncommitted(conn, database, give, leave)
    assert await one(conn, "select count(*) from track_media") == 0
    assert await one(conn, "select count(*) from track_revision") == 0
    assert await one(conn, "select count(*) from blob_owner") == 0


async def test_what_a_job_is_being_given_goes_with_its_account(conn: Connection, database: str) -> None:
    id, sound = await job(conn), await blob(conn, b"new")

    async def give(conn: Connection) -> None:
        assert await jobs.save(conn, id, {})
        await rows.claim(conn, sound, kind="job", owner=str(id))

    await while_uncommitted(conn, database, give, lambda conn: jobs.erase(conn, ANN))
    assert await one(conn, "select count(*) from job") == 0
    assert await one(conn, "select count(*) from blob_owner") == 0


async def test_a_cover_that_came_to_nothing_is_let_go_and_one_in_use_is_not(conn: Connection) -> None:
    await track(conn)
    used, other = await blob(conn, b"used"), await blob(conn, b"other")
    async with conn.transaction():
        for each in (used, other):
            await track_media.keep(conn, ANN, RKEY, each)
        await track_media.recover(conn, ANN, RKEY, used)
        for each in (used, other):
            await track_media.let_go(conn, ANN, RKEY, each)
    owned = await rows.owned(conn, kind="track", owner=track_media.owner_of(ANN, RKEY))
    assert {used, other} & {each.id for each in owned} == {used}
