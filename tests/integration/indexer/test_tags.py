"""Tracks by tag are those that are there and listed, by the time that they have now."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import psycopg
from psycopg import AsyncConnection

from indexer.replay import rebuild_projections
from indexer.shadow import replay
from lexicons.catalog import Catalog
from lexicons.syntax import AtUri
from storage import tracks
from storage.postgres import Connection
from tests.fakenet.tables import dump
from tests.fakenet.world import TRACK, Author, World, track
from tests.integration.indexer.test_sanctions import check, down, index, off, on, up

CATALOG = Catalog.load()
R1, R2 = "3mpt222222222", "3mpt222222333"
OWED = """
select tag, sort_at, id, repo_id from track join track_stat using (id), unnest(tags) tag
where not unlisted order by 1, 3
"""
HELD = "select tag, sort_at, track_id, repo_id from track_tag order by 1, 3"


async def held(conn: Connection) -> list[str]:
    """The tags that lead to a track, which are those that should."""
    rows = await (await conn.execute(HELD)).fetchall()
    assert rows == await (await conn.execute(OWED)).fetchall()
    return [tag for tag, *_ in rows]


async def test_tags_lead_to_a_track_while_it_is_there_and_listed(conn: Connection) -> None:
    ana = Author("ana")
    uri = AtUri(ana.uri(TRACK, R1))
    await tracks.tag(conn, uri, ["rain", "sun"])
    assert await held(conn) == []
    await index(conn, [ana.create(TRACK, R1, track("One")), ana.create(TRACK, R2, track("Bare"))], [ana])
    assert await held(conn) == ["rain", "sun"]
    await tracks.tag(conn, uri, ["sun", "wind"])
    assert await held(conn) == ["sun", "wind"]
    await index(conn, [ana.update(TRACK, R1, track("Two", createdAt="2001-01-01T00:00:00Z"))], [ana])
    assert await held(conn) == ["sun", "wind"]
    assert await off(conn, uri)
    assert await held(conn) == []
    await tracks.tag(conn, uri, ["wind"])
    await index(conn, [ana.update(TRACK, R1, track("Three"))], [ana])
    assert await held(conn) == []
    assert await on(conn, uri)
    assert await held(conn) == ["wind"]
    assert await down(conn, uri)
    assert await held(conn) == []
    assert await up(conn, uri)
    assert await held(conn) == ["wind"]
    await index(conn, [ana.delete(TRACK, R1)], [ana])
    assert await held(conn) == []
    await index(conn, [ana.create(TRACK, R1, track("Again"))], [ana])
    assert await held(conn) == ["wind"]
    await tracks.tag(conn, uri, [])
    assert await held(conn) == []


async def test_whatever_happens_tags_are_of_what_is_there(
    conn: Connection, database: str, tmp_path: Path
) -> None:
    rng = random.Random(3)
    world = World(3)
    await index(conn, world.begin() + world.play(60), world.authors)
    for _ in range(4):
        known = sorted(AtUri(uri) for uri in world.records if TRACK in uri)
        for uri in rng.sample(known, min(12, len(known))):
            await tracks.tag(conn, uri, rng.sample(["rain", "sun", "wind"], rng.randrange(3)))
        for change in (off, on, down, up):
            for uri in rng.sample(known, 3):
                await change(conn, uri)
        await index(conn, world.play(30), world.authors)
        assert await held(conn) != []
    await check(conn, database, tmp_path)
    before = await dump(conn)
    await conn.execute("delete from track_tag where tag = 'rain'")
    await conn.execute("update track_tag set sort_at = now() where tag = 'sun'")
    rebuilt = await rebuild_projections(conn, CATALOG)
    assert [each.table for each in rebuilt.differences] == ["track_tag"]
    assert await dump(conn) == before
    await replay(database, tmp_path, "fm.plyr", workers=1, promote=True)
    assert await dump(conn) == before


async def test_tags_that_come_while_their_track_is_written_lead_to_it(
    conn: Connection, database: str
) -> None:
    ana = Author("ana")
    await index(conn, [ana.create(TRACK, R2, track("Before"))], [ana])
    uri = AtUri(ana.uri(TRACK, R1))
    await tracks.intern(conn, [uri])
    async with (
        await psycopg.AsyncConnection.connect(database) as other,
        asyncio.TaskGroup() as group,
        conn.transaction(),
    ):
        await index(conn, [ana.create(TRACK, R1, track("One"))], [ana])
        tagging = group.create_task(tag_and_commit(other, uri))
        while not (await (await conn.execute("select from pg_locks where not granted")).fetchall()):
            await asyncio.sleep(0.01)
        assert not tagging.done()
    assert await held(conn) == ["rain"]


async def tag_and_commit(conn: AsyncConnection, uri: AtUri) -> None:
    await tracks.tag(conn, uri, ["rain"])
    await conn.commit()
