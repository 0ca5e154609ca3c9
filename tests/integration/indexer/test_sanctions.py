"""A record that is taken down leaves nothing in the tables, whatever its author does meanwhile, and comes
back whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from firehose.events import Event
from indexer.apply import apply_batch
from indexer.prepare import prepare
from indexer.replay import rebuild_projections
from indexer.sanctions import CannotUnlist, delist, relist, restore, take_down
from indexer.shadow import replay
from lexicons.catalog import Catalog
from lexicons.subject import read_subject
from storage import outbox
from storage.outbox import Entry, Kind
from storage.postgres import Connection
from tests.fakenet.tables import dump
from tests.fakenet.world import (
    COMMENT,
    LIKE,
    LIST,
    PROFILE,
    TRACK,
    Author,
    World,
    album,
    comment,
    like,
    track,
)

CATALOG = Catalog.load()
R1, R2, R3 = "3mpt222222222", "3mpt222222333", "3mpt222222444"


async def index(conn: Connection, events: list[Event], authors: list[Author]) -> None:
    await apply_batch(
        conn,
        prepare(events, CATALOG),
        catalog=CATALOG,
        source="wss://relay.example",
        seq=None,
        identities=[author.identity for author in authors],
    )


async def down(conn: Connection, uri: str, reason: str = "copyright") -> bool:
    async with conn.transaction():
        return await take_down(conn, read_subject(uri), reason, CATALOG)


async def up(conn: Connection, uri: str) -> bool:
    async with conn.transaction():
        return await restore(conn, read_subject(uri), CATALOG)


async def off(conn: Connection, uri: str, reason: str = "sexual") -> bool:
    async with conn.transaction():
        return await delist(conn, read_subject(uri), reason, CATALOG)


async def on(conn: Connection, uri: str) -> bool:
    async with conn.transaction():
        return await relist(conn, read_subject(uri), CATALOG)


async def unlisted(conn: Connection) -> set[str]:
    """URIs of tracks."""
    rows = await conn.execute("select u.uri from track t join track_uri u using (id) where t.unlisted")
    return {uri for (uri,) in await rows.fetchall()}


async def check(conn: Connection, database: str, folder: Path) -> None:
    """What is kept up is what the records and the archive say."""
    assert (await rebuild_projections(conn, CATALOG, mend=False)).differences == []
    assert (await replay(database, folder, "fm.plyr", workers=1)).differences == []


async def decided(conn: Connection) -> list[Entry]:
    batches = await outbox.after(conn, 0, rows=1000)
    return [each for batch in batches for each in batch.entries if each.kind is Kind.TAKEDOWN]


async def scalar(conn: Connection, query: str) -> object:
    row = await (await conn.execute(query)).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_meanwhile_everything_restored_is_as_if_nothing_was(
    conn: Connection, database: str, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    world = World(seed)
    await index(conn, world.begin() + world.play(60), world.authors)
    taken = rng.sample(sorted(world.records), 12)
    taken += [uri for uri in world.records if PROFILE in uri][:1]
    for uri in taken:
        await down(conn, uri)
    await check(conn, database, tmp_path)
    projected = await dump(conn)
    assert {row[0] for row in projected["track"]}.isdisjoint(taken)
    for events in (world.play(40), world.play(40)):
        await index(conn, events, world.authors)
        await check(conn, database, tmp_path)
    for uri in rng.sample(taken, len(taken)):
        await up(conn, uri)
    await check(conn, database, tmp_path)
    tables = await dump(conn)
    songs = {uri for uri, record in world.live(TRACK).items() if record["title"]}
    assert {row[0] for row in tables["track"]} == songs
    assert len(tables["like"]) == len(world.live(LIKE))
    assert len(tables["comment"]) == len(world.live(COMMENT))
    counted = {row[0]: row[1:3] for row in tables["track_stat"]}
    world.hidden.clear()  # nobody asked their PDS, so all of them are in sight
    assert counted == {uri: counts for uri, counts in world.counts().items() if any(counts)}


async def test_numbers_that_were_shown_are_the_same_again(conn: Connection, ana: Author) -> None:
    song = ana.uri(TRACK, R1)
    await index(
        conn,
        [
            ana.create(TRACK, R1, track("One")),
            ana.create(COMMENT, R1, comment(song)),
            ana.create(LIST, R1, album("Album", [song])),
            ana.create(LIKE, R1, like(song)),
        ],
        [ana],
    )
    numbers = """select (select id from track), (select id from comment), (select id from list),
                        (select likes + comments from track_stat)"""
    row = await (await conn.execute(numbers)).fetchone()
    for collection in (TRACK, COMMENT, LIST, LIKE):
        assert await down(conn, ana.uri(collection, R1))
    for table in ("track", "comment", "list", "list_item", '"like"'):
        assert await scalar(conn, f"select count(*) from {table}") == 0
    assert await scalar(conn, "select likes + comments from track_stat") == 0
    assert await scalar(conn, "select count(block) from record") == 4
    for collection in (LIKE, LIST, COMMENT, TRACK):
        assert await up(conn, ana.uri(collection, R1))
    assert await (await conn.execute(numbers)).fetchone() == row


async def test_deleted_and_written_again_it_stays_down(conn: Connection, ana: Author) -> None:
    await index(conn, [ana.create(TRACK, R1, track("One"))], [ana])
    uri = ana.uri(TRACK, R1)
    assert await down(conn, uri)
    await index(conn, [ana.delete(TRACK, R1)], [ana])
    await index(conn, [ana.create(TRACK, R1, track("Again"))], [ana])
    assert await scalar(conn, "select count(*) from track") == 0
    assert await up(conn, uri)
    assert await scalar(conn, "select title from track") == "Again"


async def test_what_changes_nothing_says_so_and_tells_nobody(conn: Connection, ana: Author) -> None:
    await index(conn, [ana.create(TRACK, R1, track("One"))], [ana])
    uri = ana.uri(TRACK, R1)
    assert not await up(conn, uri)
    assert not await down(conn, ana.uri(TRACK, R2))
    assert not await down(conn, f"at://did:web:nobody.example/{TRACK}/{R1}")
    assert await down(conn, uri)
    assert not await down(conn, uri)
    assert await down(conn, uri, "spam")
    assert await up(conn, uri)
    told = [(e.verdict, e.reason, e.action) for e in await decided(conn)]
    assert told == [
        ("down", "copyright", "delete"),
        ("down", "spam", "delete"),
        ("up", "taken back", "create"),
    ]
    story = "select string_agg(outcome, ' ' order by id) from decision where kind = 'takedown'"
    assert await scalar(conn, story) == "down down up"


async def test_an_accounts_takedown_and_a_records_do_not_undo_each_other(
    conn: Connection, database: str, tmp_path: Path, ana: Author
) -> None:
    song = ana.uri(TRACK, R1)
    await index(conn, [ana.create(TRACK, R1, track("One")), ana.create(LIKE, R1, like(song))], [ana])
    assert await down(conn, ana.uri(LIKE, R1))
    assert await down(conn, ana.did)
    assert await up(conn, ana.uri(LIKE, R1))
    assert await scalar(conn, "select likes from track_stat") == 0
    assert await down(conn, song)
    await check(conn, database, tmp_path)
    assert await up(conn, ana.did)
    assert await scalar(conn, "select likes from track_stat") == 1
    assert await scalar(conn, "select count(*) from track") == 0
    await check(conn, database, tmp_path)


async def test_a_decision_that_is_rolled_back_was_none(conn: Connection, ana: Author) -> None:
    await index(conn, [ana.create(TRACK, R1, track("One"))], [ana])
    before = await dump(conn)
    async with conn.transaction(force_rollback=True):
        assert await take_down(conn, read_subject(ana.uri(TRACK, R1)), "copyright", CATALOG)
    assert await dump(conn) == before
    assert await decided(conn) == []


@pytest.mark.parametrize("seed", range(2))
async def test_unlisted_tracks_stay_so_whatever_happens_and_the_archive_knows_it(
    conn: Connection, database: str, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    world = World(seed)
    await index(conn, world.begin() + world.play(60), world.authors)
    chosen = set(rng.sample(sorted(uri for uri in world.records if TRACK in uri), 8))
    for uri in chosen:
        assert await off(conn, uri)
    there: set[str] = set()
    for _ in range(2):
        await index(conn, world.play(40), world.authors)
        there = {uri for uri, record in world.live(TRACK).items() if record["title"]}
        assert await unlisted(conn) == chosen & there
        await check(conn, database, tmp_path)
    again = set(rng.sample(sorted(chosen), 4))
    for uri in again:
        assert await on(conn, uri)
    assert await unlisted(conn) == (chosen - again) & there
    await check(conn, database, tmp_path)
    assert (await replay(database, tmp_path, "fm.plyr", workers=1, promote=True)).differences == []
    assert await unlisted(conn) == (chosen - again) & there


async def test_an_unlisted_track_is_so_in_every_version_and_after_a_takedown(
    conn: Connection, ana: Author
) -> None:
    uri = ana.uri(TRACK, R1)
    await index(conn, [ana.create(TRACK, R1, track("One"))], [ana])
    assert await off(conn, uri)
    await index(conn, [ana.update(TRACK, R1, track("Two"))], [ana])
    assert await unlisted(conn) == {uri}
    await index(conn, [ana.delete(TRACK, R1)], [ana])
    await index(conn, [ana.create(TRACK, R1, track("Three"))], [ana])
    assert await unlisted(conn) == {uri}
    assert await down(conn, uri)
    assert await unlisted(conn) == set()
    assert await up(conn, uri)
    assert await unlisted(conn) == {uri}
    await conn.execute("update track set unlisted = false")
    assert (await rebuild_projections(conn, CATALOG)).differences != []
    assert await unlisted(conn) == {uri}
    assert await down(conn, uri)
    assert await on(conn, uri)  # also while it is down
    assert await up(conn, uri)
    assert await unlisted(conn) == set()


async def test_only_a_track_that_is_known_is_unlisted_and_nobody_is_told_twice(
    conn: Connection, ana: Author
) -> None:
    await index(conn, [ana.create(TRACK, R1, track("One")), ana.create(LIST, R1, album("A", []))], [ana])
    uri = ana.uri(TRACK, R1)
    assert not await on(conn, uri)
    assert not await off(conn, ana.uri(TRACK, R2))
    assert not await off(conn, f"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/{TRACK}/{R1}")
    for other in (ana.did, ana.uri(LIST, R1)):
        with pytest.raises(CannotUnlist):
            await off(conn, other)
    assert [await off(conn, uri), await off(conn, uri), await on(conn, uri)] == [True, False, True]
    story = "select string_agg(outcome, ' ' order by id) from decision where kind = 'listing'"
    assert await scalar(conn, story) == "unlisted listed"
