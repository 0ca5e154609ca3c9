"""A record that is taken down leaves nothing in the tables, whatever its author does meanwhile, and comes
back whole."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appview.messages import message_of, standing_after
from firehose.events import Event
from indexer.apply import apply_batch
from indexer.prepare import prepare
from indexer.replay import rebuild_projections
from indexer.sanctions import CannotTakeDown, CannotUnlist, delist, relist, restore, take_down
from indexer.shadow import replay
from lexicons.catalog import Catalog
from lexicons.datamodel import raw_cid
from lexicons.subject import read_subject
from storage import outbox
from storage.live import Standing
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


PICTURE, SOUND, ELSEWHERE = ("1a" * 32, "2b" * 32, "3c" * 32)
COVERED = {"imageUrl": f"https://plyr.test/image/{PICTURE}", "audioUrl": f"https://plyr.test/audio/{SOUND}"}


async def led(conn: Connection, sha256: str) -> set[str]:
    """Tracks and profiles that lead to these bytes, in REST or XRPC but for the record as it was signed."""
    query = """
        select u.uri from track t join track_uri u using (id)
        where strpos(t.rest, '/' || %(it)s::text) > 0
              or strpos((('{' || t.card || '}')::jsonb - 'record')::text, %(it)s) > 0
        union select r.did from profile p join repo r on r.id = p.repo_id
        where strpos(p.card, %(it)s) > 0 or strpos(p.avatar, %(it)s) > 0"""
    return {uri for (uri,) in await (await conn.execute(query, {"it": sha256})).fetchall()}


async def test_bytes_of_an_account_are_led_to_by_nothing_of_theirs_old_or_new(
    conn: Connection, database: str, tmp_path: Path, ana: Author
) -> None:
    bo = Author("bo")
    profile = {"$type": PROFILE, "avatar": COVERED["imageUrl"], "createdAt": "2026-07-04T14:00:00.000Z"}
    await index(
        conn,
        [
            ana.create(TRACK, R1, track("One", album="Album", **COVERED)),
            ana.create(TRACK, R2, track("Two", imageUrl=f"https://plyr.test/image/{ELSEWHERE}")),
            ana.create(PROFILE, "self", profile),
            bo.create(TRACK, R1, track("Three", **COVERED)),
        ],
        [ana, bo],
    )
    await rebuild_projections(conn, CATALOG)
    before = await dump(conn)
    theirs = {bo.uri(TRACK, R1)}
    assert await led(conn, PICTURE) == {ana.uri(TRACK, R1), ana.did} | theirs
    picture, sound = f"{ana.did}/{PICTURE}", f"{ana.did}/{SOUND}"
    assert await down(conn, picture, "sexual")
    assert not await down(conn, picture, "sexual")
    assert await led(conn, PICTURE) == theirs
    assert await led(conn, SOUND) == {ana.uri(TRACK, R1)} | theirs
    assert len(await led(conn, ELSEWHERE)) == 1
    assert await down(conn, sound)
    await check(conn, database, tmp_path)

    fresh = ana.uri(TRACK, R3)
    await index(
        conn,
        [
            ana.update(TRACK, R1, track("One", album="Album", description="again", **COVERED)),
            ana.create(TRACK, R3, track("Four", **COVERED)),
        ],
        [ana],
    )
    assert await led(conn, PICTURE) == await led(conn, SOUND) == theirs
    await check(conn, database, tmp_path)

    assert await up(conn, sound)
    assert await led(conn, SOUND) == {ana.uri(TRACK, R1), fresh} | theirs
    assert await led(conn, PICTURE) == theirs
    await check(conn, database, tmp_path)
    assert await up(conn, picture)
    assert not await up(conn, picture)
    await index(
        conn,
        [ana.delete(TRACK, R3), ana.update(TRACK, R1, track("One", album="Album", **COVERED))],
        [ana],
    )
    await check(conn, database, tmp_path)
    after = await dump(conn)
    assert after["profile"] == before["profile"]
    assert [row[4:] for row in after["track"] if row[0] in theirs] == [
        row[4:] for row in before["track"] if row[0] in theirs
    ]
    shown = [row[8].split('"atproto_record_cid"')[0] for row in after["track"]]
    assert shown == [row[8].split('"atproto_record_cid"')[0] for row in before["track"]]
    assert await scalar(conn, "select count(withheld) from repo") == 0


async def test_what_was_taken_down_of_bytes_is_told_to_nobody_who_follows_and_is_in_the_archive(
    conn: Connection, ana: Author
) -> None:
    await index(conn, [ana.create(TRACK, R1, track("One", **COVERED))], [ana])
    await down(conn, f"{ana.did}/{PICTURE}", "sexual")
    await up(conn, f"{ana.did}/{PICTURE}")
    batches = await outbox.after(conn, 0, rows=1000)
    told = [each for batch in batches for each in batch.entries if each.kind is Kind.WITHHOLD]
    assert [(each.did, each.cid, each.verdict, each.reason, each.detail) for each in told] == [
        (ana.did, raw_cid(PICTURE), "down", "sexual", {"sha256": PICTURE}),
        (ana.did, raw_cid(PICTURE), "up", "taken back", {"sha256": PICTURE}),
    ]
    moment = datetime.now(UTC)
    assert [message_of(each, 1, moment, Standing()) for each in told] == [None, None]
    assert all(standing_after(each, Standing()) == Standing() for each in told)


async def test_bytes_with_another_hash_and_of_nobody_cannot_be_taken_down(
    conn: Connection, ana: Author
) -> None:
    await index(conn, [ana.create(TRACK, R1, track("One"))], [ana])
    with pytest.raises(CannotTakeDown):
        await down(conn, f"{ana.did}/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG")
    assert not await down(conn, f"did:plc:{'z' * 24}/{PICTURE}")


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


async def test_a_track_off_the_lists_and_its_picture_that_is_down_do_not_undo_each_other(
    conn: Connection, database: str, tmp_path: Path, ana: Author
) -> None:
    uri, picture = ana.uri(TRACK, R1), f"{ana.did}/{PICTURE}"
    await index(conn, [ana.create(TRACK, R1, track("One", album="Album", **COVERED))], [ana])
    before = await dump(conn)

    async def stands(*, shown: bool, listed: bool) -> None:
        assert await led(conn, PICTURE) == ({uri} if shown else set())
        assert await unlisted(conn) == (set() if listed else {uri})
        assert await led(conn, SOUND) == {uri}
        await check(conn, database, tmp_path)

    assert await off(conn, uri)
    assert await down(conn, picture, "sexual")
    await stands(shown=False, listed=False)
    await conn.execute("update track set unlisted = false, card = '', rest = '{}'")
    assert (await rebuild_projections(conn, CATALOG)).differences != []
    await stands(shown=False, listed=False)
    assert (await replay(database, tmp_path, "fm.plyr", workers=1, promote=True)).differences == []
    await stands(shown=False, listed=False)

    assert await up(conn, picture)
    await stands(shown=True, listed=False)
    assert await down(conn, picture, "sexual")
    assert await on(conn, uri)
    await stands(shown=False, listed=True)

    assert await off(conn, uri)
    assert await down(conn, uri)  # the track itself, and back
    assert await up(conn, uri)
    await stands(shown=False, listed=False)
    assert await up(conn, picture)
    assert await on(conn, uri)
    await stands(shown=True, listed=True)
    assert await dump(conn) == before
