"""A track that is unlisted is in no answer that lists what nobody asked for by name, and in all the others;
listed again, it is in all of them as before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg

from appview.rest.media import SIGHT_S
from indexer.apply import apply_batch
from indexer.prepare import prepare
from indexer.sanctions import delist, relist
from lexicons.subject import read_subject
from lexicons.syntax import AtUri
from storage import tracks
from storage.postgres import Connection
from tests.fakenet.world import LIST, TRACK, Author, album
from tests.integration.appview.test_takedowns import CATALOG, EVE_KEY, Walk, timeless, walking

TRACES = (b"Xylotrack", f"{TRACK}/{EVE_KEY}".encode(), b'"slug":"xylolist"', b"xylonoise")
NAMING_KEY = "3mpt222222555"
# Where nobody names it. Every other route that has it goes on having it.
LISTINGS = {
    "/",
    "/tracks/",
    "/tracks/ of a tag",
    "/tracks/top",
    "/tracks/top of a week",
    "/tracks/tags",
    "/tracks/tags/{tag}",
    "/search/",
    "/search/ of albums",
    "/albums/",
    "/sitemap-data",
    "fm.plyr.feed.getLatest",
    "fm.plyr.feed.getTop",
    "fm.plyr.feed.searchTracks",
}


async def index(conn: Connection, eve: Author) -> str:
    """A tag of the track alone, and a playlist that names it; its number."""
    named = album("Yonder", [eve.uri(TRACK, EVE_KEY)]) | {"listType": "playlist"}
    batch = prepare([eve.create(LIST, NAMING_KEY, named)], CATALOG)
    await apply_batch(conn, batch, catalog=CATALOG, source="wss://x", seq=None, identities=[eve.identity])
    await tracks.tag(conn, AtUri(eve.uri(TRACK, EVE_KEY)), ["noise", "xylonoise"])
    row = await (await conn.execute("select id from list where rkey = %s", (NAMING_KEY,))).fetchone()
    assert row is not None
    return str(row[0])


async def answers(walk: Walk, artist: str) -> dict[str, bytes]:
    """Of every route and method, and of some in another way."""
    found = await walk.answers()
    for name, path in {
        "/tracks/": "/tracks/",
        "/tracks/ of an artist": f"/tracks/?artist_did={artist}",
        "/tracks/ of a tag": "/tracks/?tags=noise",
        "/tracks/ of an artist's tag": f"/tracks/?tags=noise&artist_did={artist}",
        "/tracks/top of a week": "/tracks/top?period=week",
        "/search/ of albums": "/search/?q=xylolist&type=albums",
    }.items():
        async with walk.http.get(walk.url + path, headers=walk.headers) as got:
            assert got.status == 200, path
            found[name] = await got.read()
    return found


def having(found: dict[str, bytes]) -> set[str]:
    return {name for name, answer in found.items() if any(trace in answer for trace in TRACES)}


async def test_it_is_where_somebody_names_it_and_nowhere_else(database: str, tmp_path: Path) -> None:
    async with (
        walking(database, tmp_path) as (walk, eve),
        await psycopg.AsyncConnection.connect(database, autocommit=True) as conn,
    ):
        naming, uri = eve.uri(LIST, NAMING_KEY), eve.uri(TRACK, EVE_KEY)
        walk.paths["playlist_id"] = await index(conn, eve)
        walk.methods["graph.getList"] = {"list": naming}
        walk.queries["/lists/by-uri"] = walk.queries["/lists/playlists/by-uri"] = {"uri": naming}
        subject = read_subject(uri)
        before = await answers(walk, eve.did)
        assert having(before) >= LISTINGS
        async with conn.transaction():
            assert await delist(conn, subject, "sexual", CATALOG)
        await asyncio.sleep(SIGHT_S)
        meanwhile = await answers(walk, eve.did)
        assert having(before) - having(meanwhile) == LISTINGS
        assert having(meanwhile) >= {
            "/tracks/{track_id}", "/tracks/by-uri", "/tracks/ of an artist", "/tracks/ of an artist's tag",
            "/track/{id}", "/tracks/liked", "/lists/playlists/{playlist_id}", "/albums/{handle}/{slug}",
            "fm.plyr.feed.getTrack", "fm.plyr.feed.getActorTracks", "fm.plyr.graph.getList",
        }  # fmt: skip
        marks = (b'"unlisted":true', b'"visibility":"unlisted"')
        assert all(mark in meanwhile["/tracks/{track_id}"] for mark in marks)
        assert b'"unlisted":true' in meanwhile["fm.plyr.feed.getActorTracks"]
        assert b'<meta name="robots" content="noindex">' in meanwhile["/track/{id}"]
        assert not any(mark in answer for mark in marks for answer in before.values())
        async with conn.transaction():
            assert await relist(conn, subject, CATALOG)
        await asyncio.sleep(SIGHT_S)
        after = await answers(walk, eve.did)
        changed = {name for name in before if timeless(before[name]) != timeless(after[name])}
        assert changed <= {"fm.plyr.sync.getRepoState"}  # which tells of our decisions; the feed does not
