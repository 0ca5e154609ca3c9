"""Repos read whole from real servers into a real database: what was missed is there afterwards, what is
gone is gone, and what came later stays."""

from __future__ import annotations

import asyncio
import copy
import random
from pathlib import Path

import pytest

from firehose.events import Commit
from firehose.hosts import SyncHost
from firehose.net import GuardedClient
from indexer.apply import apply_batch
from indexer.doubts import Suspicion, raise_doubts
from indexer.merge import collections_of, merge
from indexer.prepare import Doubt, prepare
from indexer.replay import rebuild_projections
from indexer.shadow import replay
from indexer.snapshot import fetch
from lexicons.syntax import tid_from_us
from storage import outbox, repos, sync
from storage.outbox import Kind
from storage.postgres import Connection
from tests.fakenet.pds import GET_REPO, FakePds
from tests.fakenet.repo import START_US, FakeRepo
from tests.fakenet.server import CAR_FAULTS, Fault
from tests.fakenet.world import COMMENT, LIKE, LIST, POST, TRACK, Author, World, comment, like, track
from tests.integration.indexer.resyncing import (
    CATALOG,
    SOURCE,
    apply,
    counts,
    decided,
    discovered,
    due_now,
    hearsay,
    key,
    live,
    one,
    resynced,
    resyncing,
    told,
    until,
)
from tests.integration.indexer.resyncing import (
    track as follow,
)


async def test_a_tracked_account_is_read_from_its_beginning(
    conn: Connection, database: str, pds: FakePds, ana: Author, bo: Author
) -> None:
    song = ana.uri(TRACK, key("song"))
    ana.create(TRACK, key("song"), track("A Song"))
    ana.create(POST, "post", {"$type": POST, "text": "not ours"})
    bo.write(("create", LIKE, key("one"), like(song)), ("create", COMMENT, key("two"), comment(song)))
    await follow(conn, pds, [ana, bo])
    await resynced(conn, database)
    assert set(await live(conn)) == {song, bo.uri(LIKE, key("one")), bo.uri(COMMENT, key("two"))}
    assert await counts(conn, song) == (1, 1)
    assert await one(conn, "select bool_and(resync_due is null and resync_tries = 0) from repo")
    assert await one(conn, "select rev from repo where did = %s", ana.did) == ana.repo.rev
    assert await one(conn, "select count(*) from commit_proof") == 2
    assert (await rebuild_projections(conn, CATALOG, mend=False)).differences == []
    story = [reason for _, reason in await decided(conn)]
    assert f"being read whole from {pds.origin}: it was never read from its beginning" in story
    assert f"read whole at rev {ana.repo.rev} from {pds.origin}: 1 new" in story


async def test_the_outbox_hears_of_records_before_the_resync_that_found_them(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    ana.create(TRACK, key("song"), track("A Song"))
    await follow(conn, pds, [ana])
    await resynced(conn, database)
    entries = [e for e in await told(conn) if e.kind is not Kind.NAME]
    assert [e.kind for e in entries] == [Kind.STATE, Kind.RECORD, Kind.RESYNC, Kind.STATE]
    assert [e.verdict for e in entries if e.kind is Kind.STATE] == ["resyncing", "active"]
    record, resync = entries[1], entries[2]
    assert (record.source, record.rev, record.action, record.verdict) == (
        pds.origin,
        ana.repo.rev,
        "create",
        "valid",
    )
    assert record.block is not None
    assert (resync.rev, resync.detail and resync.detail["data"]) == (
        ana.repo.rev,
        await one(conn, "select data from repo"),
    )


async def test_t5_a_record_deleted_while_we_were_away_is_gone_after_a_resync(
    conn: Connection, database: str, pds: FakePds, ana: Author, bo: Author
) -> None:
    song = ana.uri(TRACK, key("song"))
    ana.create(TRACK, key("song"), track("A Song"))
    bo.write(("create", LIKE, key("one"), like(song)))
    await follow(conn, pds, [ana, bo])
    await resynced(conn, database)
    ana.delete(TRACK, key("song"))
    bo.delete(LIKE, key("one"))  # neither commit reaches us, nor will another
    await conn.execute("update repo set state = 'desynchronized', resync_due = now()")
    await resynced(conn, database)
    assert await live(conn) == {}
    assert await counts(conn, song) == (0, 0)
    assert await one(conn, "select count(*) from track") == 0
    gone = [e for e in await told(conn) if e.kind is Kind.RECORD and e.action == "delete"]
    assert {e.rev for e in gone} == {ana.repo.rev, bo.repo.rev}


async def test_t1_what_comes_while_a_repo_is_read_is_neither_lost_nor_undone(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    ana.write(("create", TRACK, key("kept"), track("Kept")), ("create", TRACK, key("edited"), track("Old")))
    ana.create(TRACK, key("dropped"), track("Dropped"))
    pds.host(ana.repo)
    pds.remember(ana.did)  # the host's answer is of this moment
    await follow(conn, pds, [ana])
    edited = ana.update(TRACK, key("edited"), track("New"))
    dropped = ana.delete(TRACK, key("dropped"))
    made = ana.create(TRACK, key("made"), track("Made"))
    await apply(conn, edited, dropped, made)
    pds.fail(Fault.STALE, GET_REPO, ana.did)
    await resynced(conn, database)
    assert pds.fired[Fault.STALE] == 1
    assert await live(conn) == {
        ana.uri(TRACK, key("kept")): edited.since,
        ana.uri(TRACK, key("edited")): edited.rev,
        ana.uri(TRACK, key("made")): made.rev,
    }
    assert await one(conn, "select rev from repo") == made.rev


async def test_a_host_that_is_behind_leaves_the_repo_desynchronized_and_due(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    ana.create(TRACK, key("one"), track("One"))
    pds.host(ana.repo)
    pds.remember(ana.did)
    await follow(conn, pds, [ana])
    ana.create(TRACK, key("two"), track("Two"))  # lost on its way
    three = ana.create(TRACK, key("three"), track("Three"))
    await apply(conn, three)
    pds.fail(Fault.STALE, GET_REPO, ana.did)
    await resynced(conn, database, "desynchronized")
    assert set(await live(conn)) == {ana.uri(TRACK, key("one")), ana.uri(TRACK, key("three"))}
    assert "is still missing" in (await decided(conn))[-1][1]
    assert await one(conn, "select resync_tries from repo where resync_due > now()") == 1
    await due_now(conn)
    await resynced(conn, database)
    assert len(await live(conn)) == 3


async def test_t13_a_record_made_and_deleted_in_a_gap_stays_gone_when_its_commit_comes_late(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    await follow(conn, pds, [ana])
    first = ana.create(TRACK, key("one"), track("One"))
    made = ana.create(TRACK, key("ghost"), track("Ghost"))
    gone = ana.delete(TRACK, key("ghost"))
    last = ana.create(TRACK, key("two"), track("Two"))
    await apply(conn, first, last)
    await due_now(conn)
    await resynced(conn, database)
    for late in ([made], [gone, made]):
        await apply(conn, *late)
        assert set(await live(conn)) == {ana.uri(TRACK, key("one")), ana.uri(TRACK, key("two"))}
    assert await one(conn, "select state from repo") == "active"


async def test_t14_a_late_echo_does_not_bring_a_like_back(
    conn: Connection, database: str, pds: FakePds, ana: Author, bo: Author
) -> None:
    song = ana.uri(TRACK, key("song"))
    ana.create(TRACK, key("song"), track("A Song"))
    liked = bo.create(LIKE, key("one"), like(song))
    bo.delete(LIKE, key("one"))
    await follow(conn, pds, [ana, bo])
    await resynced(conn, database)
    await apply(conn, liked)
    assert await counts(conn, song) == (0, 0)
    assert set(await live(conn)) == {song}


async def test_t15_a_record_deleted_and_written_again_under_its_key_is_there(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    await follow(conn, pds, [ana])
    made = ana.create(TRACK, key("song"), track("First"))
    gone = ana.delete(TRACK, key("song"))
    await apply(conn, made, gone)
    again = ana.create(TRACK, key("song"), track("Second"))  # lost
    await conn.execute("update repo set state = 'desynchronized', resync_due = now()")
    await resynced(conn, database)
    assert await live(conn) == {ana.uri(TRACK, key("song")): again.rev}
    assert await one(conn, "select title from track") == "Second"
    await apply(conn, gone)
    assert await one(conn, "select title from track") == "Second"


async def test_t12_history_told_again_changes_nothing(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    history = [ana.create(TRACK, key("song"), track("Title 0"))]
    history += [ana.update(TRACK, key("song"), track(f"Title {n}")) for n in range(1, 6)]
    await follow(conn, pds, [ana])
    await resynced(conn, database)
    seen = len(await told(conn))
    await apply(conn, *history)
    for commit in history:
        await apply(conn, commit)
    assert await one(conn, "select title from track") == "Title 5"
    assert len(await told(conn)) == seen


async def test_t22_a_commit_that_cannot_be_proven_is_settled_by_a_resync(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    await follow(conn, pds, [ana])
    await apply(conn, ana.create(TRACK, key("one"), track("One")))
    await until(conn, "active")
    ana.create(TRACK, key("two"), track("Two"))
    batch = prepare([], CATALOG)
    batch.doubt(Doubt(ana.did, "not_inductive", "a legacy host left out what inversion needs", 7))
    await apply_batch(conn, batch, catalog=CATALOG, source=SOURCE, seq=None)
    assert await one(conn, "select state from repo") == "desynchronized"
    await due_now(conn)
    await resynced(conn, database)
    assert len(await live(conn)) == 2


async def test_t23_a_repo_without_one_of_its_records_is_refused_whole(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    for n in range(5):
        ana.create(TRACK, key(f"song{n}"), track(f"Song {n}"))
    await follow(conn, pds, [ana])
    pds.fail(Fault.MISSING, GET_REPO, ana.did)
    await resynced(conn, database, "error")
    assert await live(conn) == {}
    assert str(await one(conn, "select resync_error from repo")).startswith("missing_block:")
    await due_now(conn)
    await resynced(conn, database)
    assert len(await live(conn)) == 5
    assert await one(conn, "select resync_error is null and resync_tries = 0 from repo")


@pytest.mark.parametrize("fault", [f for f in CAR_FAULTS if f is not Fault.STALE])
async def test_a_host_that_lies_changes_nothing(
    conn: Connection, database: str, pds: FakePds, ana: Author, fault: Fault
) -> None:
    await follow(conn, pds, [ana])
    await apply(conn, *(ana.create(TRACK, key(f"song{n}"), track(f"Song {n}")) for n in range(30)))
    ana.delete(TRACK, key("song7"))
    before = await live(conn)
    await conn.execute("update repo set state = 'desynchronized', resync_due = now(), identity_due = null")
    pds.fail(fault, GET_REPO, ana.did)
    await resynced(conn, database, "error")
    assert pds.fired[fault] == 1
    assert await live(conn) == before
    assert await one(conn, "select resync_tries from repo where resync_due > now()") == 1
    if fault is Fault.FORGED:
        assert await one(conn, "select identity_due <= now() from repo")
    await due_now(conn)
    await resynced(conn, database)
    assert len(await live(conn)) == 29


async def test_a_repo_in_step_that_cannot_be_read_again_stays_in_step(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    await follow(conn, pds, [ana])
    await apply(conn, ana.create(TRACK, key("song"), track("Song")))
    await conn.execute("update repo set resync_due = now()")
    pds.fail(Fault.UNAVAILABLE, GET_REPO, ana.did)
    async with resyncing(database), asyncio.timeout(60):
        while not await one(conn, "select resync_tries from repo"):
            await asyncio.sleep(0.02)
    assert await one(conn, "select state from repo") == "active"


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.HTML_200, Fault.CUT])
async def test_a_host_that_does_not_answer_leaves_all_as_it_is(
    conn: Connection, database: str, pds: FakePds, ana: Author, fault: Fault
) -> None:
    await follow(conn, pds, [ana])
    await apply(conn, ana.create(TRACK, key("song"), track("Song")))
    await conn.execute("update repo set state = 'desynchronized', resync_due = now()")
    pds.fail(fault, GET_REPO, ana.did)
    await resynced(conn, database, "error")
    assert pds.fired[fault] == 1
    assert len(await live(conn)) == 1
    await due_now(conn)
    await resynced(conn, database)


async def test_t40_a_429_as_html_rests_the_host_and_blames_no_repo(
    conn: Connection, database: str, pds: FakePds, ana: Author, bo: Author
) -> None:
    ana.create(TRACK, key("song"), track("Song"))
    bo.create(TRACK, key("song"), track("Song"))
    await follow(conn, pds, [ana, bo])
    pds.fail(Fault.HTML_429, GET_REPO, ana.did)
    pds.fail(Fault.HTML_429, GET_REPO, bo.did)
    async with resyncing(database):
        async with asyncio.timeout(60):
            while await one(conn, "select count(*) from repo where resync_error is null"):
                await asyncio.sleep(0.02)
        assert pds.fired[Fault.HTML_429] >= 1
        assert await one(conn, "select sum(resync_tries) from repo") == 0
        assert await one(conn, "select count(*) from repo where state = 'error'") == 0
        await conn.execute("delete from decision")
        pds._queued.clear()
        await asyncio.sleep(0.1)
        await due_now(conn)
        await until(conn, "active")
    assert len(await live(conn)) == 2


@pytest.mark.parametrize("status", ["deactivated", "takendown", "suspended", "deleted"])
async def test_a_host_that_gives_no_repo_has_the_account_looked_at_and_nothing_removed(
    conn: Connection, database: str, pds: FakePds, ana: Author, status: str
) -> None:
    await follow(conn, pds, [ana])
    await apply(conn, ana.create(TRACK, key("song"), track("Song")))
    await conn.execute("update repo set state = 'desynchronized', resync_due = now(), account_due = null")
    if status == "deleted":
        pds.drop(ana.did)
    else:
        pds.set_status(ana.did, status)
    async with resyncing(database), asyncio.timeout(60):
        while not await one(conn, "select account_due <= now() from repo"):
            await asyncio.sleep(0.02)
    assert len(await live(conn)) == 1
    assert await one(conn, "select state || ' ' || hidden from repo join profile on id = repo_id") in (
        "desynchronized false",
        "pending false",
    )
    assert await one(conn, "select resync_due is null and active from repo")
    assert (await decided(conn))[-1][1].endswith("it waits for word about the account")


async def test_nobody_reads_the_repo_of_an_account_that_is_not_active_or_not_known_yet(
    conn: Connection, database: str, pds: FakePds, ana: Author, bo: Author
) -> None:
    ana.create(TRACK, key("song"), track("Song"))
    bo.create(TRACK, key("song"), track("Song"))
    await follow(conn, pds, [ana, bo])
    await conn.execute("update repo set active = false where did = %s", (ana.did,))
    await conn.execute("update repo set signing_key = null where did = %s", (bo.did,))
    async with resyncing(database):
        await asyncio.sleep(0.3)
    assert pds.asked.total() == 0


async def test_e8_a_resync_cut_short_is_taken_up_again_at_the_next_start(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    ana.create(TRACK, key("song"), track("Song"))
    await follow(conn, pds, [ana])
    pds.fail(Fault.SLOW, GET_REPO, ana.did)
    async with resyncing(database), asyncio.timeout(60):
        while not pds.asked[GET_REPO, ana.did]:
            await asyncio.sleep(0.02)
    assert (
        await one(conn, "select state from repo where resync_due > now() + interval '5 minutes'")
        == "resyncing"
    )
    await resynced(conn, database)
    assert len(await live(conn)) == 1


async def test_an_account_that_moves_while_it_is_read_is_read_at_its_new_host(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    ana.create(TRACK, key("song"), track("Song"))
    async with FakePds() as new:
        await follow(conn, pds, [ana])
        pds.fail(Fault.SLOW, GET_REPO, ana.did)
        new.host(ana.repo)
        async with resyncing(database), asyncio.timeout(60):
            while not pds.asked[GET_REPO, ana.did]:
                await asyncio.sleep(0.02)
            await conn.execute("update repo set pds = %s", (new.origin,))
            while not new.asked[GET_REPO, ana.did]:
                await due_now(conn)
                await asyncio.sleep(0.05)
            await until(conn, "active")
    assert len(await live(conn)) == 1


async def test_what_the_host_that_an_account_left_had_sent_is_not_written(
    conn: Connection, pds: FakePds, ana: Author
) -> None:
    ana.create(TRACK, key("song"), track("Song"))
    await follow(conn, pds, [ana])
    (due,) = await sync.take(conn, limit=1, lease_s=60, busy=[])
    async with GuardedClient(allow_loopback=True) as client:
        snapshot = await fetch(due, SyncHost(client, due.pds), collections_of(CATALOG))
    await conn.execute("update repo set pds = 'https://new.example'")
    assert await merge(conn, [snapshot], CATALOG) == [snapshot]
    snapshot.close()
    assert await live(conn) == {}


async def test_the_repo_of_another_account_is_refused_though_its_key_is_the_same(
    conn: Connection, database: str, pds: FakePds, ana: Author, bo: Author
) -> None:
    await follow(conn, pds, [ana])
    other = FakeRepo(did=bo.did, seed="ana")
    other.write([("create", TRACK, key("song"), track("Another's"))])
    pds.repos[ana.did] = other
    await resynced(conn, database, "error")
    assert str(await one(conn, "select resync_error from repo")).startswith("mismatch:")
    assert await live(conn) == {}


async def test_a_repo_that_heals_by_itself_is_not_called_an_error(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    await follow(conn, pds, [ana])
    commits = [ana.create(TRACK, key(f"song{n}"), track("Song")) for n in range(3)]
    await apply(conn, commits[0], commits[2])
    await due_now(conn)
    pds.fail(Fault.SLOW, GET_REPO, ana.did)
    async with resyncing(database):
        async with asyncio.timeout(60):
            while not pds.asked[GET_REPO, ana.did]:
                await asyncio.sleep(0.02)
        await apply(conn, commits[1])
        await until(conn, "active")
        await asyncio.sleep(1.2)  # the trickling body ends
    assert await one(conn, "select state || resync_tries from repo where resync_due is null") == "active0"


async def test_records_with_a_poisonous_text_are_kept_and_hurt_no_other_repo(
    conn: Connection, database: str, pds: FakePds, ana: Author, bo: Author
) -> None:
    ana.create(TRACK, key("nul"), track("A \0 in it"))
    ana.create(TRACK, key("bad"), {"$type": TRACK, key("title"): 7})
    bo.create(TRACK, key("song"), track("Song"))
    await follow(conn, pds, [ana, bo])
    await resynced(conn, database)
    assert len(await live(conn)) == 3
    assert await one(conn, "select count(*) from record where invalid is not null") == 1


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_was_lost_a_resync_ends_equal_to_the_world(
    conn: Connection, database: str, pds: FakePds, seed: int
) -> None:
    world, rng = World(seed, authors=6), random.Random(seed)
    events = [*world.begin(), *world.play(300)]
    await follow(conn, pds, world.authors)
    heard = [e for e in events if rng.random() < 0.6]
    late = [e for e in events if e not in heard and rng.random() < 0.5]
    rng.shuffle(heard)
    await apply(conn, *[e for e in heard if hasattr(e, "ops")])
    await conn.execute("update repo set resync_due = now() where state <> 'active'")
    await resynced(conn, database)
    await apply(conn, *[e for e in late if hasattr(e, "ops")])
    assert set(await live(conn)) == {uri for uri in world.records if uri.split("/")[3] != POST}
    assert await one(conn, "select count(*) from repo where state <> 'active'") == 0
    assert await one(conn, "select count(*) from list") == len(world.live(LIST))
    assert (await rebuild_projections(conn, CATALOG, mend=False)).differences == []


@pytest.mark.parametrize("seed", range(2))
async def test_a_replay_of_the_archive_knows_of_resyncs(
    conn: Connection, database: str, pds: FakePds, tmp_path: Path, seed: int
) -> None:
    world, rng = World(seed, authors=5), random.Random(seed)
    commits = [e for e in (*world.begin(), *world.play(200)) if isinstance(e, Commit)]
    await discovered(conn, pds, world.authors)
    for author in world.authors:
        pds.fail(rng.choice((Fault.MISSING, Fault.UNAVAILABLE, Fault.TRUNCATED)), GET_REPO, author.did)
    for commit in commits:
        if rng.random() < 0.7:
            await apply(conn, *(hearsay(commit) if rng.random() < 0.2 else [commit]))
    await due_now(conn)
    async with resyncing(database), asyncio.timeout(60):
        while await one(conn, "select count(*) from repo where state <> 'active'"):
            await asyncio.sleep(0.05)
            await conn.execute("update repo set resync_due = now() where state = 'error'")
    assert pds.fired.total() == len(world.authors)
    await apply(conn, *rng.sample(commits, 50))
    assert set(await live(conn)) == {uri for uri in world.records if uri.split("/")[3] != POST}
    assert (await replay(database, tmp_path, "fm.plyr", promote=False, workers=1)).differences == []


async def test_t14_a_host_that_falls_behind_brings_nothing_back(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    ana.create(TRACK, key("ghost"), track("Ghost"))
    pds.host(ana.repo)
    pds.remember(ana.did)
    ana.delete(TRACK, key("ghost"))
    await follow(conn, pds, [ana])
    await resynced(conn, database)
    ana.create(TRACK, key("song"), track("Song"))  # lost
    await apply(conn, ana.create(TRACK, key("more"), track("More")))
    await due_now(conn)
    pds.fail(Fault.STALE, GET_REPO, ana.did)
    await resynced(conn, database, "desynchronized")
    assert pds.fired[Fault.STALE] == 1
    assert set(await live(conn)) == {ana.uri(TRACK, key("more"))}
    await due_now(conn)
    await resynced(conn, database)
    assert set(await live(conn)) == {ana.uri(TRACK, key("more")), ana.uri(TRACK, key("song"))}


async def test_a_host_that_has_no_more_than_we_had_is_asked_once_more(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    await follow(conn, pds, [ana])
    await apply(conn, ana.create(TRACK, key("one"), track("One")))
    pds.remember(ana.did)
    ana.create(TRACK, key("two"), track("Two"))
    batch = prepare([], CATALOG)
    batch.doubt(Doubt(ana.did, "not_inductive", "a legacy host left out what inversion needs", 7))
    await apply_batch(conn, batch, catalog=CATALOG, source=SOURCE, seq=None)
    pds.fail(Fault.STALE, GET_REPO, ana.did)
    await due_now(conn)
    await resynced(conn, database, "desynchronized")
    assert (await decided(conn))[-1][1].endswith("asked once more")
    await due_now(conn)
    await resynced(conn, database)
    assert len(await live(conn)) == 2


async def test_a_doubt_about_nothing_is_dispelled_by_the_second_read(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    await follow(conn, pds, [ana])
    await apply(conn, ana.create(TRACK, key("one"), track("One")))
    batch = prepare([], CATALOG)
    batch.doubt(Doubt(ana.did, "bad_tree", "somebody made it up", 7))
    await apply_batch(conn, batch, catalog=CATALOG, source=SOURCE, seq=None)
    await due_now(conn)
    await resynced(conn, database, "desynchronized")
    await due_now(conn)
    await resynced(conn, database)
    assert pds.asked[GET_REPO, ana.did] == 2


@pytest.fixture
def large() -> Author:
    """An account with more records than are kept in memory."""
    author = Author("large")
    for part in range(0, 2100, 150):
        author.write(*(("create", TRACK, key_of(n), track(f"Song {n}")) for n in range(part, part + 150)))
    return author


def key_of(n: int) -> str:
    return str(tid_from_us(START_US + n))


async def test_a_large_repo_is_merged_in_parts(
    conn: Connection, database: str, pds: FakePds, large: Author
) -> None:
    await follow(conn, pds, [large])
    await resynced(conn, database)
    assert len(await live(conn)) == 2100
    assert await one(conn, "select synced_rev from repo") == large.repo.rev
    large.write(*(("delete", TRACK, key_of(n), None) for n in range(100, 200)))
    large.write(*(("update", TRACK, key_of(n), track("New")) for n in range(1000, 1100)))
    late = large.create(TRACK, key_of(5000), track("Last"))
    await conn.execute("update repo set state = 'desynchronized', resync_due = now()")
    await resynced(conn, database)
    revs = await live(conn)
    assert len(revs) == 2001
    assert sum(rev == late.rev for rev in revs.values()) == 101
    assert await one(conn, "select count(*) from track where title = 'New'") == 100
    assert (await decided(conn))[-1][1].endswith("1 new, 100 changed, 100 gone")
    assert (await rebuild_projections(conn, CATALOG, mend=False)).differences == []


async def test_a_large_repo_that_lost_nearly_everything_loses_it_here_too(
    conn: Connection, database: str, pds: FakePds, large: Author
) -> None:
    await follow(conn, pds, [large])
    await resynced(conn, database)
    for part in range(3, 2100, 150):
        large.write(*(("delete", TRACK, key_of(n), None) for n in range(part, min(part + 150, 2100))))
    await conn.execute("update repo set state = 'desynchronized', resync_due = now()")
    await resynced(conn, database)
    assert len(await live(conn)) == 3


async def test_t13_a_ghost_that_comes_while_a_large_repo_is_merged_does_not_stay(
    conn: Connection, database: str, pds: FakePds, large: Author
) -> None:
    ghost = large.create(TRACK, key_of(5000), track("Ghost"))
    large.delete(TRACK, key_of(5000))
    large.create(TRACK, key_of(5001), track("Last"))
    await follow(conn, pds, [large])
    async with resyncing(database):
        async with asyncio.timeout(60):
            while await one(conn, "select count(*) from record") < 1000:
                await asyncio.sleep(0.001)
        await apply(conn, ghost)
        await until(conn, "active")
    assert large.uri(TRACK, key_of(5000)) not in await live(conn)
    assert len(await live(conn)) == 2101


async def test_what_a_left_host_wrote_to_a_large_repo_goes_in_parts(
    conn: Connection, database: str, pds: FakePds, large: Author, tmp_path: Path
) -> None:
    await discovered(conn, pds, [large])
    await resynced(conn, database)
    left = copy.copy(large)
    left.repo = large.repo.frozen()
    ghosts = [("create", TRACK, key_of(n), track("Ghost")) for n in range(5000, 5050)]
    gone = [("delete", TRACK, key_of(n), None) for n in range(100)]
    await apply(conn, left.write(*ghosts, *gone, ("update", TRACK, key_of(2000), track("Ghostly"))))
    assert len(await live(conn)) == 2050
    async with conn.transaction():
        standings = await repos.lock(conn, [large.did])
        moved = Suspicion(large.did, "moved", "a test says so", forked=True)
        await outbox.append(conn, await raise_doubts(conn, [moved], standings, "test"))
    await resynced(conn, database)
    revs = await live(conn)
    assert set(revs) == {large.uri(TRACK, key_of(n)) for n in range(2100)}
    assert await one(conn, "select rev from repo") == large.repo.rev
    assert max(revs.values()) == large.repo.rev
    assert (await decided(conn))[-1][1].endswith("101 changed, 50 gone")
    assert (await rebuild_projections(conn, CATALOG, mend=False)).differences == []
    assert (await replay(database, tmp_path, "fm.plyr", promote=False, workers=1)).differences == []


async def test_what_nobody_signed_is_proven_by_a_resync(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    await follow(conn, pds, [ana])
    heard = ana.create(TRACK, key("song"), track("Song"))
    await apply(conn, *hearsay(heard))
    assert await one(conn, "select verified from record") is False
    await due_now(conn)
    await resynced(conn, database)
    assert await one(conn, "select verified from record") is True
    assert [e.verdict for e in await told(conn) if e.kind is Kind.RECORD] == ["unverified", "valid"]
    assert (await rebuild_projections(conn, CATALOG, mend=False)).differences == []


async def test_hearsay_that_the_host_cannot_prove_yet_keeps_the_repo_due(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    ana.create(TRACK, key("one"), track("One"))
    pds.host(ana.repo)
    pds.remember(ana.did)
    await follow(conn, pds, [ana])
    heard = ana.create(TRACK, key("two"), track("Two"))
    await apply(conn, *hearsay(heard))
    pds.fail(Fault.STALE, GET_REPO, ana.did)
    await due_now(conn)
    await resynced(conn, database, "desynchronized")
    assert await one(conn, "select count(*) from record where not verified") == 1
    assert "newer records that it does not prove" in (await decided(conn))[-1][1]
    await due_now(conn)
    await resynced(conn, database)
    assert await one(conn, "select count(*) from record where verified") == 2


async def test_hearsay_that_one_read_after_another_does_not_prove_is_refuted(
    conn: Connection, database: str, pds: FakePds, ana: Author, tmp_path: Path
) -> None:
    """The author never writes again, and yet the repo is not due for ever."""
    ana.create(TRACK, key("one"), track("One"))
    await discovered(conn, pds, [ana])
    await resynced(conn, database)
    liar = Author("ana")
    later_us = START_US + 60_000_000
    invented = liar.write(
        ("create", TRACK, key("lie"), track("A lie")),
        ("create", TRACK, key("one"), track("Another")),
        now_us=later_us,
    )
    for tries in (1, 2):
        await apply(conn, *hearsay(invented))
        await due_now(conn)
        await resynced(conn, database, "desynchronized")
        assert await one(conn, "select resync_tries from repo") == tries
        assert len(await live(conn)) == 2
    await due_now(conn)
    await resynced(conn, database)
    assert await live(conn) == {ana.uri(TRACK, key("one")): ana.repo.rev}
    assert await one(conn, "select title from track") == "One"
    assert await one(conn, "select resync_due is null and gaps = '[]' from repo")
    await apply(conn, *hearsay(invented))  # told again
    assert len(await live(conn)) == 1
    await apply(conn, ana.create(TRACK, key("two"), track("Two")))  # below the rev that was invented
    for _ in range(2):
        await due_now(conn)
        await resynced(conn, database)
    assert len(await live(conn)) == 2
    assert (await replay(database, tmp_path, "fm.plyr", promote=False, workers=1)).differences == []


async def test_hearsay_above_what_the_host_has_of_what_was_signed_is_not_refuted(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    ana.create(TRACK, key("one"), track("One"))
    await follow(conn, pds, [ana])
    await resynced(conn, database)
    pds.host(ana.repo.frozen())
    await apply(conn, ana.create(TRACK, key("two"), track("Two")))
    await apply(conn, *hearsay(ana.create(TRACK, key("three"), track("Three"))))
    for _ in range(4):
        await due_now(conn)
        await resynced(conn, database, "desynchronized")
    assert len(await live(conn)) == 3


async def test_what_somebody_made_up_is_gone_after_a_resync(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    await follow(conn, pds, [ana])
    other = Author("ana")
    await apply(conn, *hearsay(other.create(TRACK, key("lie"), track("A lie"))))
    ana.write(("create", TRACK, key("song"), track("Song")), now_us=START_US + 10**6)
    await due_now(conn)
    await resynced(conn, database)
    assert set(await live(conn)) == {ana.uri(TRACK, key("song"))}


async def test_a_host_that_says_active_and_gives_nothing_is_asked_less_and_less_often(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    ana.create(TRACK, key("song"), track("Song"))
    await follow(conn, pds, [ana])
    await conn.execute("update repo set account_due = null")
    pds.set_status(ana.did, "deactivated")
    waits: list[float] = []
    async with resyncing(database), asyncio.timeout(60):
        for _ in range(4):
            while (wait := await one(conn, WAIT)) is None:
                await asyncio.sleep(0.02)
            waits.append(float(wait))
            await conn.execute("update repo set account_due = null, resync_due = now()")
    # Some of a wait may be over when we look.
    for wait, full in zip(waits, (0, 10, 20, 40), strict=True):
        assert full - 4 < wait <= full


WAIT = "select extract(epoch from account_due - now()) from repo where account_due is not null"
