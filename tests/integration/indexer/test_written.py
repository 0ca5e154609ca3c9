"""What we write ourselves is in the index at once, unproven; its echo proves it, whatever the order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from firehose.events import Commit, Event
from indexer.apply import apply_batch
from indexer.archivist import seal_all
from indexer.prepare import prepare
from indexer.replay import rebuild_projections
from indexer.written import OwnWrite, doubt_unproven, take_in
from lexicons.syntax import Rev
from storage import outbox
from storage.outbox import Entry
from storage.postgres import Connection
from tests.fakenet.tables import dump
from tests.fakenet.world import TRACK, Author, World, like, track
from tests.integration.indexer.test_shadow import replayed
from tests.integration.indexer.test_unproven import CATALOG, R1, R2, R3, RELAY

LIKE = "fm.plyr.like"


def own(commit: Commit) -> list[OwnWrite]:
    """What the PDS answered to whoever wrote it."""
    return [
        OwnWrite(commit.did, op.collection, op.rkey, commit.rev, op.action, op.cid, op.block)
        for op in commit.ops
        if op.collection in CATALOG.collections.own
    ]


async def write(conn: Connection, commit: Commit, author: Author | None = None) -> bool:
    newcomer = author and author.identity
    return any([await take_in(conn, each, CATALOG, newcomer=newcomer) for each in own(commit)])


async def echo(conn: Connection, authors: Sequence[Author], *events: Event) -> None:
    identities = [author.identity for author in authors]
    await apply_batch(
        conn, prepare(events, CATALOG), catalog=CATALOG, source=RELAY, seq=None, identities=identities
    )


async def one(conn: Connection, query: str, *params: object) -> Any:
    row = await (await conn.execute(query, params)).fetchone()  # type: ignore[arg-type]
    return None if row is None else row[0] if len(row) == 1 else row


async def entries(conn: Connection) -> list[Entry]:
    return [entry for batch in await outbox.after(conn, 0, rows=1000) for entry in batch.entries]


async def begun(conn: Connection) -> Author:
    """An account in step with its PDS."""
    ana = Author("ana")
    await echo(conn, [ana], ana.create(TRACK, R1, track("One")))
    return ana


STATE = "select state, rev, data, gaps, resync_due is null from repo"


async def test_an_own_write_is_shown_at_once_and_moves_nothing_that_is_proven(conn: Connection) -> None:
    ana = await begun(conn)
    before = await one(conn, STATE)
    assert before[0] == "active"
    commit = ana.create(TRACK, R2, track("Two"))
    assert await write(conn, commit)
    assert await one(conn, STATE) == before
    assert await one(conn, "select verified, rev from record where rkey = %s", R2) == (False, commit.rev)
    assert '"verified":false' in await one(conn, "select card from track where rkey = %s", R2)
    assert [(e.verdict, e.source) for e in await entries(conn) if e.rkey == R2] == [
        ("unverified", "own write")
    ]


async def test_its_echo_proves_it_and_the_repo_moves_on_in_step(conn: Connection) -> None:
    ana = await begun(conn)
    commit = ana.create(TRACK, R2, track("Two"))
    await write(conn, commit)
    await echo(conn, [ana], commit)
    assert await one(conn, "select state, rev, data, resync_due is null from repo") == (
        "active", commit.rev, commit.data, True,
    )  # fmt: skip
    assert await one(conn, "select verified from record where rkey = %s", R2) is True
    assert '"verified":true' in await one(conn, "select card from track where rkey = %s", R2)
    assert [e.verdict for e in await entries(conn) if e.rkey == R2] == ["unverified", "valid"]
    assert await one(conn, "select count(*) from commit_proof where rev = %s", commit.rev) == 1


async def test_an_echo_that_comes_first_leaves_the_own_write_nothing_to_do(conn: Connection) -> None:
    ana = await begun(conn)
    commit = ana.create(TRACK, R2, track("Two"))
    await echo(conn, [ana], commit)
    before = await entries(conn)
    assert not await write(conn, commit)
    assert await one(conn, "select bool_and(verified) from record") is True
    assert await entries(conn) == before


async def test_a_newer_edit_before_the_echo_of_the_older_one_stays(conn: Connection) -> None:
    ana = await begun(conn)
    first = ana.create(TRACK, R2, track("Two"))
    second = ana.update(TRACK, R2, track("Two and a half"))
    await write(conn, first)
    await write(conn, second)
    await echo(conn, [ana], first)
    assert await one(conn, "select title from track where rkey = %s", R2) == "Two and a half"
    assert await one(conn, "select verified, rev from record where rkey = %s", R2) == (False, second.rev)
    await echo(conn, [ana], second)
    assert await one(conn, "select verified, rev from record where rkey = %s", R2) == (True, second.rev)
    assert await one(conn, "select state, rev from repo") == ("active", second.rev)


async def test_a_delete_of_our_own_is_gone_at_once_and_proven_by_its_echo(conn: Connection) -> None:
    ana = await begun(conn)
    commit = ana.delete(TRACK, R1)
    assert await write(conn, commit)
    assert await one(conn, "select count(*) from track") == 0
    assert await one(conn, "select cid, verified, rev from record") == (None, False, commit.rev)
    await echo(conn, [ana], commit)
    assert await one(conn, "select cid, verified, rev from record") == (None, True, commit.rev)
    assert await one(conn, "select state, rev from repo") == ("active", commit.rev)


async def test_likes_of_our_own_count_once(conn: Connection) -> None:
    ana = await begun(conn)
    commit = ana.create(LIKE, R3, like(ana.uri(TRACK, R1)))
    await write(conn, commit)
    assert await one(conn, "select max(likes) from track_stat") == 1
    await echo(conn, [ana], commit)
    assert await one(conn, "select max(likes) from track_stat") == 1


async def test_whoever_was_unknown_is_tracked_and_read_whole(conn: Connection) -> None:
    ana = Author("ana")
    commit = ana.create(TRACK, R1, track("One"))
    await take_in(conn, own(commit)[0], CATALOG)
    assert await one(conn, "select state, rev, resync_due <= now(), identity_due <= now() from repo") == (
        "pending",
        None,
        True,
        True,
    )
    assert await one(conn, "select title from track") == "One"


@pytest.mark.parametrize("seed", range(4))
async def test_own_writes_in_any_order_with_their_echoes_have_one_effect(
    conn: Connection, second: Connection, another_database: str, tmp_path: Path, seed: int
) -> None:
    world, rng = World(seed), random.Random(seed)
    events = [e for e in (*world.begin(), *world.play(120)) if isinstance(e, Commit)]
    for event in events:
        await echo(conn, world.authors, event)
    by_did = {author.did: author for author in world.authors}
    told = [(event, by_us) for event in events for by_us in (True, False)]
    rng.shuffle(told)
    for event, by_us in told:
        if by_us:
            await write(second, event, by_did[event.did])
        else:
            await echo(second, world.authors, event)
    assert await dump(second) == await dump(conn)
    assert (await rebuild_projections(second, CATALOG, mend=False)).differences == []
    await seal_all(second, tmp_path, entries=100)
    assert (await replayed(another_database, tmp_path)).differences == []


async def test_the_archive_gives_what_is_not_proven_yet_as_it_is(
    conn: Connection, database: str, tmp_path: Path
) -> None:
    ana = await begun(conn)
    await write(conn, ana.create(TRACK, R2, track("Two")))
    await write(conn, ana.delete(TRACK, R1))
    assert (await rebuild_projections(conn, CATALOG, mend=False)).differences == []
    assert (await replayed(database, tmp_path)).differences == []


async def test_an_echo_that_never_comes_has_the_repo_read(conn: Connection) -> None:
    ana = await begun(conn)
    commit = ana.create(TRACK, R2, track("Two"))
    await write(conn, commit)
    assert await doubt_unproven(conn, before=commit.rev) == 0
    late = Rev(max(commit.rev, R3)[:-1] + "z")
    assert await doubt_unproven(conn, before=late) == 1
    assert await one(conn, "select state, resync_due is null from repo") == ("desynchronized", False)
    assert await doubt_unproven(conn, before=late) == 0
