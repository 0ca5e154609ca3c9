"""What REST shows of a track is written with it, follows its account to another PDS, and is made up for where
the track is older."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from psycopg.rows import dict_row

from appview.jobs import house
from appview.jobs.tasks import Done, Task
from firehose.identity import IdentityDoc
from indexer.apply import apply_batch
from indexer.identities import settle_identity
from indexer.prepare import prepare
from indexer.replay import rebuild_projections, render_old
from lexicons.catalog import Catalog
from lexicons.datamodel import cid_bytes
from lexicons.syntax import Cid
from storage.postgres import Connection, Pool
from tests.fakenet.world import TRACK, Author, track

CATALOG = Catalog.load()
R1, R2, R3 = "3mpt222222222", "3mpt222222333", "3mpt222222444"
BLOB = "bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy"
SOUND = {"$type": "blob", "ref": cid_bytes(Cid(BLOB)), "mimeType": "audio/mpeg", "size": 3}


async def publish(conn: Connection, author: Author, rkey: str, record: dict[str, Any]) -> None:
    events = [author.create(TRACK, rkey, record)]
    await apply_batch(
        conn,
        prepare(events, CATALOG),
        catalog=CATALOG,
        source="wss://x",
        seq=None,
        identities=[author.identity],
    )


async def columns(conn: Connection) -> list[dict[str, Any]]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("select id, rest, features, album, file_id from track order by id")
        return await cursor.fetchall()


async def test_a_track_is_rendered_when_it_is_written(conn: Connection, ana: Author) -> None:
    featured = [{"did": "did:web:a.example"}, {"did": "did:web:b.example"}]
    await publish(conn, ana, R1, track("One", album="No \0 Cover", features=featured))
    (row,) = await columns(conn)
    assert row["features"] == ["did:web:a.example", "did:web:b.example"]
    assert row["album"] == "No \N{REPLACEMENT CHARACTER} Cover"
    assert row["rest"].endswith('"title":"No \\u0000 Cover","image_url":')
    assert ana.uri(TRACK, R1) in row["rest"]
    await apply_batch(
        conn,
        prepare([ana.update(TRACK, R1, track("Two"))], CATALOG),
        catalog=CATALOG,
        source="wss://x",
        seq=None,
        identities=[],
    )
    (row,) = await columns(conn)
    assert (row["features"], row["album"]) == (None, None)
    assert orjson.loads("{" + row["rest"] + "}")["title"] == "Two"


async def test_where_a_track_is_to_be_found_follows_its_account(conn: Connection, ana: Author) -> None:
    await publish(conn, ana, R1, track("One"))
    assert "https://pds.example/xrpc/" in (await columns(conn))[0]["rest"]
    doc = IdentityDoc(ana.did, None, "https://new.example", ana.repo.key.did_key)
    async with conn.transaction():
        await settle_identity(conn, doc, CATALOG, lease=None, due_s=None)
    (row,) = await columns(conn)
    url = orjson.loads("{" + row["rest"] + "}")["atproto_record_url"]
    assert url.startswith("https://new.example/xrpc/com.atproto.repo.getRecord?repo=")
    assert (await rebuild_projections(conn, CATALOG, mend=False)).differences == []


@pytest.fixture
async def old(conn: Connection, ana: Author) -> list[dict[str, Any]]:
    """Three tracks from before REST; the answer is what they should look like."""
    await publish(conn, ana, R1, track("One", album="X", features=[{"did": "did:web:a.example"}]))
    without = {key: value for key, value in track("Two").items() if key != "audioUrl"}
    await publish(conn, ana, R2, without | {"audioBlob": SOUND})
    await publish(conn, ana, R3, track("\0"))
    right = await columns(conn)
    await conn.execute("update track set rest = null, features = null, album = null, file_id = null")
    return right


async def test_old_tracks_are_rendered_little_by_little(conn: Connection, old: list[dict[str, Any]]) -> None:
    async with conn.transaction():
        assert await render_old(conn, limit=2) == 2
    assert [row["rest"] is None for row in await columns(conn)] == [False, False, True]
    async with conn.transaction():
        assert await render_old(conn, limit=2) == 1
        assert await render_old(conn, limit=2) == 0
    assert await columns(conn) == old
    assert (await rebuild_projections(conn, CATALOG, mend=False)).differences == []


async def test_the_house_renders_all_old_tracks(
    conn: Connection, pool: Pool, old: list[dict[str, Any]]
) -> None:
    task = Task("tracks.render", house.render_tracks(pool))
    assert await task.run(None) == Done("Rendered old tracks.", {"tracks": 3})  # type: ignore[arg-type]
    assert await columns(conn) == old


async def test_a_rebuild_renders_them_too(conn: Connection, old: list[dict[str, Any]]) -> None:
    (difference,) = (await rebuild_projections(conn, CATALOG)).differences
    assert (difference.table, difference.wrong) == ("track", 3)
    assert await columns(conn) == old
