"""Who owns which blob, and what the collector may take: the contract of storage.blobs.rows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from lexicons.syntax import Did
from storage import uploads
from storage.blobs import rows
from storage.blobs.audit import Fault, audit
from storage.blobs.collector import Collected, collect
from storage.blobs.publishing import publish
from storage.blobs.rows import MOVES, BeingDeleted, Blob, State
from storage.blobs.store import Area, BlobMissing, BlobStore, Key
from storage.postgres import Connection
from storage.uploads import Part
from tests.integration.blobs.test_contract import all_of, chunks, digest, key_of, names

NONE = timedelta(0)
DAY = timedelta(days=1)
SONG = b"a song"


async def stored(conn: Connection, store: BlobStore, data: bytes = SONG, *, owner: str | None = None) -> Blob:
    await store.stage("upload", chunks(data))
    blob = await publish(conn, store, "upload", Area.AUDIO, digest(data), mime="audio/mpeg")
    if owner is not None:
        await rows.claim(conn, blob.id, kind="track", owner=owner)
    return blob


async def collected(conn: Connection, store: BlobStore, *, grace: timedelta = NONE) -> Collected:
    return await collect(conn, store, grace=grace, keep=DAY, now=datetime.now(UTC))


async def faults(conn: Connection, store: BlobStore) -> list[tuple[Key, Fault]]:
    return [(each.key, each.fault) async for each in audit(conn, store, content=True) if each is not None]


async def test_deleting_one_of_two_tracks_that_share_bytes_leaves_the_other_playing(
    conn: Connection, store: BlobStore
) -> None:
    one, other = await stored(conn, store, owner="one"), await stored(conn, store, owner="other")
    assert one.id == other.id
    assert await rows.release(conn, kind="track", owner="one") == [one.id]
    assert await collected(conn, store) == Collected()
    assert await all_of(store.read(one.key)) == SONG
    await rows.release(conn, kind="track", owner="other")
    assert await collected(conn, store, grace=DAY) == Collected()
    assert await collected(conn, store) == Collected(blobs=1, bytes=len(SONG))
    assert await store.stat(one.key) is None
    assert await rows.get(conn, one.id) is None


async def test_the_same_owner_twice_is_one_owner(conn: Connection, store: BlobStore) -> None:
    blob = await stored(conn, store)
    assert await rows.claim(conn, blob.id, kind="track", owner="one") == 1
    assert await rows.claim(conn, blob.id, kind="track", owner="one") == 1
    assert await rows.claim(conn, blob.id, kind="revision", owner="one") == 2
    assert [each.id for each in await rows.owned(conn, kind="track", owner="one")] == [blob.id]
    assert await rows.release(conn, kind="track", owner="one", id=blob.id + 1) == []
    assert await rows.release(conn, kind="track", owner="one", id=blob.id) == [blob.id]
    assert await rows.release(conn, kind="track", owner="one", id=blob.id) == []
    found = await rows.get(conn, blob.id)
    assert found is not None
    assert (found.owners, found.unowned_at) == (1, None)


async def test_bytes_that_come_again_get_their_whole_grace_again(conn: Connection, store: BlobStore) -> None:
    blob = await stored(conn, store)
    assert blob.unowned_at is not None
    again = await stored(conn, store)
    assert again.unowned_at is not None
    assert again.unowned_at > blob.unowned_at


async def test_a_crash_before_the_object_leaves_a_row_that_the_collector_removes(
    conn: Connection, store: BlobStore
) -> None:
    await store.stage("upload", chunks(SONG))
    blob = await rows.reserve(conn, Area.AUDIO, digest(SONG), mime="audio/mpeg")
    assert blob.state is State.PUBLISHING
    assert await faults(conn, store) == []
    assert (await collected(conn, store)).blobs == 1
    assert await rows.get(conn, blob.id) is None


async def test_a_crash_behind_the_object_leaves_both_and_the_collector_removes_both(
    conn: Connection, store: BlobStore
) -> None:
    await store.stage("upload", chunks(SONG))
    blob = await rows.reserve(conn, Area.AUDIO, digest(SONG), mime="audio/mpeg")
    await store.publish("upload", blob.key, mime=blob.mime)
    assert (await collected(conn, store)).blobs == 1
    assert await store.stat(blob.key) is None


async def test_publishing_goes_on_after_a_crash_at_any_step(conn: Connection, store: BlobStore) -> None:
    await store.stage("upload", chunks(SONG))
    blob = await rows.reserve(conn, Area.AUDIO, digest(SONG), mime="audio/mpeg")
    await store.publish("upload", blob.key, mime=blob.mime)
    for _ in range(2):
        done = await publish(conn, store, "upload", Area.AUDIO, digest(SONG), mime="audio/mpeg")
        assert (done.id, done.state) == (blob.id, State.PUBLISHED)
    assert await all_of(store.read(blob.key)) == SONG


async def test_what_the_collector_has_in_hand_cannot_be_owned_nor_stored(
    conn: Connection, store: BlobStore
) -> None:
    blob = await stored(conn, store)
    assert [each.id for each in await rows.take(conn, grace_s=0, lease_s=60, limit=9)] == [blob.id]
    with pytest.raises(BeingDeleted):
        await rows.claim(conn, blob.id, kind="track", owner="late")
    with pytest.raises(BeingDeleted):
        await rows.reserve(conn, Area.AUDIO, digest(SONG), mime="audio/mpeg")
    with pytest.raises(BeingDeleted):
        await rows.publish(conn, blob.id)
    assert await rows.take(conn, grace_s=0, lease_s=60, limit=9) == []
    await rows.forget(conn, blob.id)
    assert (await stored(conn, store)).id != blob.id


async def test_a_deletion_that_was_interrupted_is_taken_up_again(conn: Connection, store: BlobStore) -> None:
    blob = await stored(conn, store)
    await rows.take(conn, grace_s=0, lease_s=0, limit=9)
    assert await collected(conn, store) == Collected(blobs=1, bytes=len(SONG))
    assert await store.stat(blob.key) is None


async def test_an_owner_who_comes_while_the_collector_looks_wins_or_is_told(
    database: str, conn: Connection, store: BlobStore
) -> None:
    """Each time either the claim holds and the object is there, or the claimant was told."""

    async def claim(blob: Blob) -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(database) as other:
                await rows.claim(other, blob.id, kind="track", owner="one")
        except BeingDeleted:
            return False
        return True

    for number in range(8):
        data = bytes([number])
        blob = await stored(conn, store, data)
        owned, _ = await asyncio.gather(claim(blob), collected(conn, store))
        assert (await store.stat(key_of(data)) is not None) == owned
    assert await faults(conn, store) == []


@pytest.mark.parametrize("state", State)
async def test_a_blob_makes_the_moves_of_the_table_and_no_other(
    conn: Connection, store: BlobStore, state: State
) -> None:
    async def reach() -> int:
        blob = await rows.reserve(conn, Area.AUDIO, digest(SONG), mime="audio/mpeg")
        if state is not State.PUBLISHING:
            await rows.publish(conn, blob.id)
        if state is State.DELETING:
            await rows.take(conn, grace_s=0, lease_s=60, limit=9)
        return blob.id

    async def state_of(id: int) -> State | None:
        found = await rows.get(conn, id)
        return None if found is None else found.state

    async def to(target: State, id: int) -> None:
        if target is State.PUBLISHED:
            await rows.publish(conn, id)
        elif target is State.DELETING:
            await rows.take(conn, grace_s=0, lease_s=60, limit=9)
        else:
            await rows.reserve(conn, Area.AUDIO, digest(SONG), mime="audio/mpeg")

    for target in State:
        id = await reach()
        assert await state_of(id) is state
        try:
            await to(target, id)
        except BeingDeleted:
            assert state is State.DELETING
        assert await state_of(id) is (target if target in MOVES[state] else state)
        await rows.take(conn, grace_s=0, lease_s=0, limit=9)
        await rows.forget(conn, id)


async def test_an_audit_finds_each_fault_and_nothing_where_all_is_well(
    conn: Connection, store: BlobStore
) -> None:
    made = {name: await stored(conn, store, name.encode(), owner=name) for name in ("fine", "gone", "count")}
    assert await faults(conn, store) == []
    await store.delete(made["gone"].key)
    stray = key_of(b"stray", Area.IMAGE)
    await store.stage("upload", chunks(b"stray"))
    await store.publish("upload", stray, mime="image/png")
    wrong = {}
    for name, data in (("content", b"swapped"), ("size", b"longer than it was")):
        wrong[name] = await stored(conn, store, name.encode(), owner=name)
        await store.delete(wrong[name].key)
        await store.stage("upload", chunks(data))
        await store.publish("upload", wrong[name].key, mime="audio/mpeg")
    await conn.execute("update blob set owners = 2 where id = %s", [made["count"].id])
    assert sorted(await faults(conn, store)) == sorted(
        [
            (made["gone"].key, Fault.MISSING),
            (stray, Fault.STRAY),
            (wrong["content"].key, Fault.CONTENT),
            (wrong["size"].key, Fault.SIZE),
            (made["count"].key, Fault.OWNERS),
        ]
    )


async def test_what_has_an_owner_stays_even_if_it_was_miscounted(conn: Connection, store: BlobStore) -> None:
    blob = await stored(conn, store, owner="one")
    await conn.execute("update blob set owners = 0, unowned_at = now() where id = %s", [blob.id])
    assert await collected(conn, store) == Collected()
    assert await all_of(store.read(blob.key)) == SONG


async def test_a_stray_object_is_left_alone(conn: Connection, store: BlobStore) -> None:
    """It may be the database that is older than the store."""
    await store.stage("upload", chunks(SONG))
    await store.publish("upload", key_of(SONG), mime="audio/mpeg")
    assert await collected(conn, store) == Collected()
    assert await all_of(store.read(key_of(SONG))) == SONG


async def test_an_upload_that_stands_still_is_dropped_with_its_bytes(
    conn: Connection, store: BlobStore
) -> None:
    for name in ("moving", "standing"):
        await uploads.begin(conn, name, did=Did("did:plc:x"), part=Part.SOUND, bytes=10)
        await store.append(name, chunks(b"half"), at=0)
    await store.stage("nobodys", chunks(b"x"))
    await conn.execute(
        "update staged_upload set touched_at = now() - interval '3 days' where name = 'standing'"
    )
    now = datetime.now(UTC)
    assert await collect(conn, store, grace=DAY, keep=DAY, now=now) == Collected()
    later = now + timedelta(days=2)
    assert await collect(conn, store, grace=DAY, keep=DAY, now=later) == Collected(uploads=2)
    assert await names(store) == {"moving": 4}
    assert [each.name for each in await rows.uploads(conn)] == ["moving"]
    with pytest.raises(BlobMissing):
        await all_of(store.read_staged("nobodys"))
