"""Tracks of the namespace of before are taken along whole, once; none that was deleted since comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appview.legacy import MOST_AT_ONCE
from appview.rest import account_shapes
from lexicons.catalog import Catalog
from lexicons.syntax import Nsid, tid_from_us
from tests.integration.appview.player.room import Room, detail, opened

OLD, NEW = "app.relay.track", "fm.plyr.track"
START_US = 1_760_000_000_000_000


@pytest.fixture
async def moving(database: str, tmp_path: Path, catalog: Catalog) -> AsyncIterator[Room]:
    async with opened(database, tmp_path / "keys", catalog, old=Nsid(OLD)) as room:
        yield room


def record(n: int, **fields: Any) -> dict[str, Any]:
    return {
        "$type": OLD, "title": f"Track {n}", "artist": "Ann", "fileType": "mp3",
        "createdAt": "2025-10-09T08:53:20Z", "audioUrl": f"https://audio.test/{n}.mp3",
        "imageUrl": f"https://img.test/{n}.png", "mood": {"n": n}, **fields,
    }  # fmt: skip


def fill(room: Room, name: str, count: int, start: int = 0, **fields: Any) -> list[str]:
    """The keys of so many old records."""
    keys = [str(tid_from_us(START_US + n)) for n in range(start, start + count)]
    for n, rkey in enumerate(keys, start):
        room.pds.records[room.names[name], OLD, rkey] = record(n, **fields)
    return keys


def new(room: Room, name: str) -> dict[str, dict[str, Any]]:
    of = (room.names[name], NEW)
    return {path[2]: value for path, value in room.pds.records.items() if path[:2] == of}


async def check(room: Room, key: str) -> tuple[bool, int]:
    told = await room.told("GET", "/migration/check", key, server=1)
    msgspec.convert(told, account_shapes.MigrationCheck)
    assert (told["old_collection"], told["new_collection"]) == (OLD, NEW)
    return told["needs_migration"], told["old_record_count"]


async def migrate(room: Room, key: str, *, server: int = 0) -> tuple[int, int, int, list[str]]:
    told = await room.told("POST", "/migration/migrate", key, server=server)
    msgspec.convert(told, account_shapes.Migrated)
    assert told["deleted_count"] == 0
    return told["migrated_count"], told["failed_count"], told["remaining_count"], told["errors"]


async def test_every_track_is_taken_along_whole_under_its_key(moving: Room) -> None:
    ann = await moving.someone("ann")
    keys = fill(moving, "ann", 130)
    before = dict(moving.pds.records)
    assert await check(moving, ann) == (True, 130)
    assert await migrate(moving, ann) == (130, 0, 0, [])
    assert new(moving, "ann") == {rkey: record(n) | {"$type": NEW} for n, rkey in enumerate(keys)}
    assert {path: value for path, value in moving.pds.records.items() if path[1] == OLD} == before
    assert await check(moving, ann) == (False, 130)
    [(count, verified)] = await moving.rows(
        "select count(*), bool_or(verified) from record where rkey = any(%s)", keys
    )
    assert (count, verified) == (130, False)
    tracks = (await moving.told("GET", "/xrpc/fm.plyr.feed.getActorTracks", params={"actor": "ann.test"}))[
        "tracks"
    ]
    assert tracks[0]["record"]["imageUrl"] == "https://img.test/129.png"


async def test_saying_it_again_changes_nothing_and_what_is_new_comes_along(moving: Room) -> None:
    ann = await moving.someone("ann")
    assert await check(moving, ann) == (False, 0)
    assert await migrate(moving, ann) == (0, 0, 0, [])
    fill(moving, "ann", 3)
    assert (await migrate(moving, ann))[0] == 3
    writes = moving.pds.asked.count("putRecord")
    assert await migrate(moving, ann, server=1) == (0, 0, 0, [])
    assert moving.pds.asked.count("putRecord") == writes
    fill(moving, "ann", 1, start=3)
    assert await check(moving, ann) == (True, 4)
    assert (await migrate(moving, ann))[0] == 1


async def test_what_was_deleted_or_changed_here_since_stays_so(moving: Room) -> None:
    ann = await moving.someone("ann")
    keys = fill(moving, "ann", 3)
    await migrate(moving, ann)
    did = moving.names["ann"]
    del moving.pds.records[did, NEW, keys[0]]
    await moving.rows("update record set cid = null, block = null where rkey = %s", keys[0])
    # Changed where we did not see it: neither the old version nor our index knows.
    edited = moving.pds.records[did, NEW, keys[1]] | {"title": "Another"}
    moving.pds.records[did, NEW, keys[1]] = edited
    await moving.rows("delete from record where rkey = %s", keys[1])
    assert await migrate(moving, ann) == (0, 0, 0, [])
    assert (keys[0] in new(moving, "ann"), new(moving, "ann")[keys[1]]) == (False, edited)


async def test_of_two_at_once_each_track_is_counted_once(moving: Room) -> None:
    ann = await moving.someone("ann")
    fill(moving, "ann", 40)
    both = await asyncio.gather(*(migrate(moving, ann, server=n) for n in range(2)))
    assert sum(each[0] for each in both) == 40
    assert [each[1:] for each in both] == [(0, 0, [])] * 2
    assert len(new(moving, "ann")) == 40


async def test_what_cannot_be_a_track_is_told_and_the_rest_goes_on(moving: Room) -> None:
    ann = await moving.someone("ann")
    keys = fill(moving, "ann", 4)
    del moving.pds.records[moving.names["ann"], OLD, keys[1]]["title"]
    moving.pds.refuses.add(keys[2])
    migrated, failed, remaining, errors = await migrate(moving, ann)
    assert (migrated, failed, remaining) == (2, 2, 0)
    assert [error.partition(":")[0] for error in errors] == keys[1:3]
    assert await check(moving, ann) == (True, 4)


async def test_more_than_one_request_may_do_is_left_for_the_next(moving: Room) -> None:
    ann = await moving.someone("ann")
    fill(moving, "ann", MOST_AT_ONCE + 5)
    assert await migrate(moving, ann) == (MOST_AT_ONCE, 0, 5, [])
    assert await check(moving, ann) == (True, MOST_AT_ONCE + 5)
    assert await migrate(moving, ann) == (5, 0, 0, [])


async def test_a_pds_that_is_away_is_told_and_asked_again(moving: Room) -> None:
    ann = await moving.someone("ann")
    fill(moving, "ann", 3)
    moving.pds.status = 503
    for method, path in (("GET", "/migration/check"), ("POST", "/migration/migrate")):
        assert detail(await moving.ask(method, path, ann))[0] == 502
    moving.pds.status, moving.pds.puts_left = 200, 1
    migrated, failed, remaining, errors = await migrate(moving, ann)
    assert (migrated, failed, remaining, len(errors)) == (1, 1, 1, 1)
    moving.pds.puts_left = None
    assert await migrate(moving, ann) == (2, 0, 0, [])


async def test_a_pds_cannot_fill_our_memory(moving: Room) -> None:
    """Fifty pages of four megabytes are many times that where they are read."""
    ann = await moving.someone("ann")
    fill(moving, "ann", 90, mood="x" * 100_000)
    told = detail(await moving.ask("GET", "/migration/check", ann))
    assert told == (500, "cannot read your records: the PDS lists more than is taken along")


async def test_nothing_more_is_taken_along_for_who_leaves(moving: Room) -> None:
    """Who asks for the deletion of their account while we write has no tracks written behind their back."""
    ann = await moving.someone("ann")
    fill(moving, "ann", 40)

    async def leave() -> None:
        while not new(moving, "ann"):
            await asyncio.sleep(0)
        await moving.rows(
            "insert into account_deletion (did, step, remove_records, counts, warnings, session_id)"
            " values (%s, 'records', true, '{}', '{}', 1)",
            moving.names["ann"],
        )

    told, _ = await asyncio.gather(moving.ask("POST", "/migration/migrate", ann), leave())
    assert told.status == 200, told.body
    assert 0 < len(new(moving, "ann")) < 40
    assert told.json["migrated_count"] == len(new(moving, "ann"))
    assert told.json["errors"][0].endswith("the account is being deleted")


async def test_it_is_for_who_may_write(moving: Room) -> None:
    await moving.someone("ann")
    narrow = await moving.key("ann", scope="atproto repo:fm.plyr.like")
    for method, path in (("GET", "/migration/check"), ("POST", "/migration/migrate")):
        assert detail(await moving.ask(method, path)) == (401, "not authenticated - login required")
        assert detail(await moving.ask(method, path, narrow)) == (403, "scope_upgrade_required")


async def test_without_a_namespace_of_before_there_is_nothing_to_take_along(room: Room) -> None:
    ann = await room.someone("ann")
    fill(room, "ann", 1)
    assert await room.told("GET", "/migration/check", ann) == {
        "needs_migration": False, "old_record_count": 0, "old_collection": None, "new_collection": NEW,
        "did": room.names["ann"],
    }  # fmt: skip
    assert detail(await room.ask("POST", "/migration/migrate", ann)) == (400, "migration not available")
    assert room.pds.asked == []
