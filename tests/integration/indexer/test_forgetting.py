"""Who asked to be forgotten is in no table and no file, is not taken in again, and a replay agrees."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import psycopg
import pytest

from firehose.events import Frame
from firehose.filter import Interest
from indexer.archivist import seal_all
from indexer.forgetting import DELETED_HERE, let_back
from indexer.newcomers import Newcomers
from indexer.shadow import replay
from indexer.standing import take_down
from storage import archive, decisions, discovery, forgotten, outbox, uploads
from storage.decisions import Decision
from storage.forgotten import NamesBusy
from storage.outbox import Kind
from storage.postgres import Connection, make_pool
from storage.uploads import Part
from tests.fakenet.world import TRACK, track
from tests.integration.farewell import CATALOG, RELAY, TITLES, R, Story, applied
from tests.integration.mentions import in_files, in_tables

COUNTED = "select likes + comments from track_stat join track using (id) where title = 'Ben''s'"


@pytest.fixture
def story(conn: Connection, tmp_path: Path) -> Story:
    return Story(conn, tmp_path)


async def one(conn: Connection, query: str, *params: object) -> object:
    row = await (await conn.execute(query, params)).fetchone()  # type: ignore[arg-type]
    return None if row is None else row[0]


async def differences(dsn: str, folder: Path) -> list[object]:
    return list((await replay(dsn, folder, "fm.plyr", workers=1)).differences)


async def test_nothing_mentions_who_was_forgotten(story: Story, database: str, tmp_path: Path) -> None:
    await story.play(popular=False)
    did = story.ana.did
    await uploads.begin(story.conn, "half-an-album", did=did, part=Part.SOUND, bytes=None)
    assert len(in_files(story.archive, [did])) > 5
    assert len(in_files(story.dumps, [did])) > 2
    assert await one(story.conn, COUNTED) == 2
    assert await take_down(story.conn, did, DELETED_HERE)
    await story.wipe(await story.forget())

    told = in_tables(database, [did, *TITLES])
    assert [row.split(":")[0] for row in told] == ["outbox"]  # the one that tells those who follow
    entries = [e for batch in await outbox.after(story.conn, 0, rows=100) for e in batch.entries]
    assert [e.kind for e in entries if e.did == did] == [Kind.FORGOTTEN]
    assert in_files(tmp_path, [did, *TITLES]) == []
    assert await one(story.conn, COUNTED) == 0
    assert await one(story.conn, "select count(*) from track_uri") == 1
    assert await differences(database, story.archive) == []

    await seal_all(story.conn, story.archive, entries=100)
    assert in_files(tmp_path, [did, *TITLES]) == []
    assert await differences(database, story.archive) == []


async def test_what_others_wrote_stays_theirs(story: Story, database: str, tmp_path: Path) -> None:
    await story.play(popular=True)
    did, uri = story.ana.did, story.ana.uri(TRACK, R[0])
    # A track that she had deleted before, and had filed under something.
    await story.conn.execute(
        "update track_stat set tags = '{hers}' where id = (select id from track_uri where uri = %s)", [uri]
    )
    await story.conn.execute("delete from track where id = (select id from track_uri where uri = %s)", [uri])
    await story.wipe(await story.forget())
    assert await one(story.conn, "select count(*) from track_stat where tags is not null") == 0
    assert in_files(tmp_path, TITLES) == []
    told = in_files(tmp_path, [did])
    assert told
    for row in told:  # Ben's like, and the number of the track that it points at
        assert story.ben.did in row or uri in row, row
    assert (
        await one(story.conn, "select likes from track_stat join track_uri using (id) where uri = %s", uri)
        == 1
    )
    assert await differences(database, story.archive) == []


async def test_who_was_forgotten_is_not_taken_in_again(story: Story, database: str, tmp_path: Path) -> None:
    await story.play(popular=False)
    did = story.ana.did
    await story.wipe(await story.forget())
    late = story.ana.create(TRACK, R[5], track("Unforgettable, again"))
    await applied(story.conn, story.ana, late)
    assert await one(story.conn, "select count(*) from repo") == 1
    assert await discovery.unknown(story.conn, [did]) == []
    await decisions.add(story.conn, [Decision(did, "resync", "failed", "a slow one", RELAY)])
    assert await one(story.conn, "select count(*) from decision where did = %s", did) == 0
    await story.wipe(0)  # what was on its way while it was forgotten
    assert [row.split(":")[0] for row in in_tables(database, [did, *TITLES])] == ["outbox"]
    await seal_all(story.conn, story.archive, entries=100)
    assert in_files(tmp_path, [did, *TITLES]) == []
    assert await differences(database, story.archive) == []


async def test_signing_in_lets_an_account_back_as_a_new_one(story: Story, database: str) -> None:
    await story.play(popular=True)
    did = story.ana.did
    upto = await story.forget()
    async with story.conn.transaction():
        assert await let_back(story.conn, did)
    async with story.conn.transaction():
        assert not await let_back(story.conn, did)
    await applied(story.conn, story.ana, story.ana.create(TRACK, R[5], track("New Life")))
    await seal_all(story.conn, story.archive, entries=4)
    await story.wipe(upto)  # of the old one, though it is here again
    assert in_files(story.archive, TITLES) == []
    assert in_files(story.archive, ["New Life"])
    assert (
        await one(
            story.conn, "select count(*) from track t join repo r on r.id = repo_id where did = %s", did
        )
        == 1
    )
    assert await one(story.conn, "select taken_down from repo where did = %s", did) is None
    assert await one(story.conn, "select state from repo where did = %s", did) != "active"  # it is read whole
    assert await differences(database, story.archive) == []


async def test_who_signs_in_before_it_is_done_begins_anew(story: Story, database: str) -> None:
    await story.play(popular=False)
    upto = await story.forget(came_back=True)
    assert not await forgotten.has(story.conn, story.ana.did)
    assert await one(story.conn, "select count(*) from repo where did = %s", story.ana.did) == 1
    await story.wipe(upto)
    assert in_files(story.archive, [story.ana.did, *TITLES]) == []
    assert await differences(database, story.archive) == []


async def test_an_account_that_was_never_here_can_be_forgotten(story: Story) -> None:
    await story.wipe(await story.forget())
    assert await forgotten.has(story.conn, story.ana.did)


async def test_wiping_again_changes_nothing_and_mends_what_a_crash_left(
    story: Story, tmp_path: Path, database: str
) -> None:
    await story.play(popular=False)
    did = story.ana.did
    shutil.copytree(story.archive, tmp_path / "before")
    upto = await story.forget()
    await story.wipe(upto)
    manifest = await archive.segments(story.conn)
    assert any(one.path.endswith(".2.parquet") for one in manifest)
    await story.wipe(upto)
    assert await archive.segments(story.conn) == manifest
    # A crash between the commit and the removal of the old file; another within a seal.
    for file in (tmp_path / "before").glob("*/*.parquet"):
        shutil.copy(file, story.archive / file.parent.name / file.name)
    (story.archive / "unsealed-x.part").write_text(did)
    (story.dumps / "dump-x.part").write_text(did)
    assert in_files(story.archive, [did])
    await story.wipe(upto)
    shutil.rmtree(tmp_path / "before")
    assert in_files(tmp_path, [did, *TITLES]) == []
    assert await differences(database, story.archive) == []


async def test_the_newest_version_of_a_file_is_adopted(
    story: Story, another_database: str, tmp_path: Path
) -> None:
    await story.play(popular=False)
    before = tmp_path / "before"
    shutil.copytree(story.archive, before)
    await story.wipe(await story.forget())
    for file in before.glob("*/*.parquet"):  # the old ones are back from a backup
        shutil.copy(file, story.archive / file.parent.name / file.name)
    async with await psycopg.AsyncConnection.connect(another_database, autocommit=True) as other:
        adopted = await archive.adopt(other, story.archive)
    assert adopted == await archive.segments(story.conn)


async def test_who_was_forgotten_stays_so_when_the_database_is_lost(
    story: Story, another_database: str
) -> None:
    await story.play(popular=False)
    await story.wipe(await story.forget())
    await seal_all(story.conn, story.archive, entries=100)
    async with await psycopg.AsyncConnection.connect(another_database, autocommit=True) as other:
        await archive.adopt(other, story.archive)
        await replay(another_database, story.archive, "fm.plyr", workers=1, promote=True)
        assert await forgotten.has(other, story.ana.did)
        assert await discovery.unknown(other, [story.ana.did]) == []


async def test_numbers_are_looked_at_when_nobody_writes(story: Story, database: str) -> None:
    """Whoever looked up a number has written what points there before it is decided that nobody does."""
    await story.play(popular=False)
    await story.forget()
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as writer:
        async with writer.transaction():
            await writer.execute("select * from track_uri")
            with pytest.raises(NamesBusy):
                await forgotten.erase_names(story.conn, story.ana.did)
        assert await forgotten.erase_names(story.conn, story.ana.did) == 2


async def test_a_dump_that_is_being_written_is_waited_for(story: Story, database: str) -> None:
    await story.play(popular=False)
    upto = await story.forget()
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as dumper:
        async with dumper.transaction():
            await dumper.execute("select pg_advisory_xact_lock_shared(hashtextextended('plyr dumps', 0))")
            wiping = asyncio.create_task(story.wipe(upto))
            while not await one(
                dumper, "select count(*) from pg_locks where not granted and locktype = 'advisory'"
            ):
                await asyncio.sleep(0.02)
            assert in_files(story.dumps, [story.ana.did])
        await wiping
    assert in_files(story.dumps, [story.ana.did]) == []


async def test_followers_pass_by_who_was_forgotten(story: Story, database: str) -> None:
    interest = Interest(CATALOG.collections.own, set())
    hers = [Frame("#commit", {"repo": story.ana.did}), Frame("#identity", {"did": story.ana.did})]
    async with make_pool(database, max_size=2, name="test") as pool:
        newcomers = Newcomers(pool, interest, 0)
        await newcomers.once()
        assert not any(map(interest.forgets, hers))
        await story.forget()
        await newcomers.once()
        assert all(map(interest.forgets, hers))
        assert not interest.forgets(Frame("#commit", {"repo": story.ben.did}))
        assert not interest.forgets(Frame("#info", {"name": "OutdatedCursor"}))
        async with story.conn.transaction():
            await let_back(story.conn, story.ana.did)
        await newcomers.once()
        assert not any(map(interest.forgets, hers))
