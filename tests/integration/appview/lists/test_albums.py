"""/albums/ over HTTP: what is an album, whose, in which order, under which name, with which picture."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec
import psycopg
import pytest

from appview.rest import list_shapes
from appview.rest.albums import Albums, Shown
from appview.rest.asker import Asker
from appview.sound_origins import ANYWHERE, SoundOrigins
from lexicons.catalog import Catalog
from storage.albums import STATEMENTS
from storage.keyset import ALBUM
from storage.reader import Reads
from tests.integration.appview.seed import START, Seed
from tests.integration.appview.service import Server, World, served, viewer_of

ORIGIN = "https://plyr.example"


@pytest.fixture
async def world(database: str, catalog: Catalog) -> AsyncIterator[World]:
    seed = Seed(database, catalog)
    sounds = SoundOrigins([ANYWHERE])

    def parts(reads: Reads) -> dict[str, object]:
        asker = Asker(reads, None, viewer_of)
        return {"routes": [Albums(Shown(reads, ORIGIN, catalog.collections, sounds), asker)]}

    try:
        async with served(database, catalog, parts=parts) as server:
            yield World(server, seed, database)
    finally:
        seed.close()


async def get(server: Server, path: str, shape: Any, viewer: str | None = None) -> Any:
    headers = {} if viewer is None else {"X-Viewer": viewer}
    answer = await server.request("GET", path, headers=headers)
    assert answer.status == 200, answer.body
    msgspec.json.decode(answer.body, type=shape)
    return answer.json


async def refused(server: Server, path: str) -> tuple[int, Any]:
    answer = await server.request("GET", path)
    return answer.status, answer.json["detail"]


def titles(album: dict[str, Any]) -> list[str]:
    return [track["title"] for track in album["tracks"]]


async def test_what_tracks_name_is_an_album(world: World) -> None:
    seed = world.seed
    ann = seed.account("ann")
    seed.track(ann, "Two", album="My Álbum", at=START.replace(day=2))
    seed.track(ann, "One", album="my album", at=START.replace(day=1))
    seed.track(ann, "Single")
    seed.commit()
    did = seed.dids[ann]
    album = await get(world.server, "/albums/ann.test/my-album", list_shapes.Album)
    assert titles(album) == ["One", "Two"]
    metadata = album["metadata"]
    assert UUID(metadata["id"]).version == 5
    assert metadata == {
        "id": album["tracks"][0]["album"]["id"],
        "title": "my album",
        "slug": "my-album",
        "track_count": 2,
        "total_plays": 0,
        "image_url": None,
        "artist": metadata["artist"],
        "artist_handle": "ann.test",
        "artist_did": did,
        "description": None,
        "list_uri": None,
    }
    listed = (await get(world.server, "/albums/ann.test", list_shapes.AlbumsOfArtist))["albums"]
    everybody = (await get(world.server, "/albums/", list_shapes.Albums))["albums"]
    assert [each["id"] for each in listed] == [each["id"] for each in everybody] == [metadata["id"]]
    assert await get(world.server, f"/albums/{did}/my-album", list_shapes.Album) == album


async def test_a_list_gives_the_order_and_what_is_not_in_it_comes_behind(world: World) -> None:
    seed = world.seed
    ann, bob = seed.account("ann"), seed.account("bob")
    one, two, three = (seed.track(ann, name, album="Low Water") for name in ("One", "Two", "Three"))
    guest = seed.track(bob, "Guest")
    uri = seed.list_of(ann, "Low Water", [three, guest, one, three])
    seed.commit()
    for track, plays in ((three, 4), (two, 1)):
        seed.conn.execute("update track_stat set plays = %s where id = %s", (plays, seed.stat(track)))
    seed.conn.commit()
    album = await get(world.server, "/albums/ann.test/low-water", list_shapes.Album, viewer=seed.dids[bob])
    assert titles(album) == ["Three", "Guest", "One", "Two"]
    assert (album["metadata"]["track_count"], album["metadata"]["total_plays"]) == (4, 5)
    assert album["metadata"]["list_uri"] == uri
    (listed,) = (await get(world.server, "/albums/ann.test", list_shapes.AlbumsOfArtist))["albums"]
    assert (listed["track_count"], listed["total_plays"]) == (4, 5)


async def test_of_two_lists_of_one_name_the_older_has_it(world: World) -> None:
    """Whichever came here first; and tracks are on the album whose list has them."""
    seed = world.seed
    ann = seed.account("ann")
    one, two = seed.track(ann, "One", album="Low Water"), seed.track(ann, "Two", album="Low Water")
    seed.track(ann, "Stray", album="Low Water")
    seed.list_of(ann, "Low Water", [one])
    seed.list_of(ann, "Löw  Water", [two])
    seed.track(ann, "Other", album="Low Water 2")
    seed.commit()
    listed = (await get(world.server, "/albums/ann.test", list_shapes.AlbumsOfArtist))["albums"]
    assert [(each["title"], each["slug"]) for each in listed] == [
        ("Low Water", "low-water"),
        ("Low Water 2", "low-water-2"),
        ("Löw  Water", "low-water--2"),
    ]
    assert len({each["id"] for each in listed}) == 3
    assert titles(await get(world.server, "/albums/ann.test/low-water", list_shapes.Album)) == [
        "One",
        "Stray",
    ]
    assert titles(await get(world.server, "/albums/ann.test/low-water--2", list_shapes.Album)) == ["Two"]
    assert titles(await get(world.server, "/albums/ann.test/low-water-2", list_shapes.Album)) == ["Other"]
    assert await refused(world.server, "/albums/ann.test/low-water--3") == (404, "album not found")
    assert await refused(world.server, "/albums/ann.test/low-water--1") == (404, "album not found")


async def test_other_scripts_have_slugs(world: World) -> None:
    ann = world.seed.account("ann")
    world.seed.track(ann, "One", album="Ночные записи")
    world.seed.commit()
    (listed,) = (await get(world.server, "/albums/ann.test", list_shapes.AlbumsOfArtist))["albums"]
    assert listed["slug"] == "ночные-записи"
    album = await get(world.server, f"/albums/ann.test/{quote(listed['slug'])}", list_shapes.Album)
    assert album["metadata"]["title"] == "Ночные записи"


async def test_an_album_looks_like_its_first_track_else_like_its_artist(world: World) -> None:
    seed = world.seed
    ann = seed.account("ann", avatar="https://img.example/ann.png")
    cover = "https://img.example/one.png"
    one, two = seed.track(ann, "One", album="A", imageUrl=cover), seed.track(ann, "Two", album="A")
    seed.list_of(ann, "Back", [two, one])
    seed.commit()
    listed = (await get(world.server, "/albums/ann.test", list_shapes.AlbumsOfArtist))["albums"]
    assert [each["image_url"] for each in listed] == [cover, "https://img.example/ann.png"]


async def test_what_is_hidden_is_in_no_album(world: World) -> None:
    seed = world.seed
    ann, bob, cat = seed.account("ann"), seed.account("bob", hidden=True), seed.account("cat")
    hers, his = seed.track(ann, "Hers"), seed.track(bob, "His", album="Gone")
    seed.list_of(ann, "Both", [his, hers])
    seed.list_of(bob, "His Own", [hers])
    seed.list_of(cat, "Empty", [his])
    seed.commit()
    assert titles(await get(world.server, "/albums/ann.test/both", list_shapes.Album)) == ["Hers"]
    everybody = (await get(world.server, "/albums/", list_shapes.Albums))["albums"]
    assert [(each["title"], each["track_count"]) for each in everybody] == [("Both", 1), ("Empty", 0)]
    assert await refused(world.server, "/albums/bob.test") == (404, "artist not found")
    for slug in ("gone", "his-own"):
        assert await refused(world.server, f"/albums/bob.test/{slug}") == (404, "album not found")


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_pages_have_every_album_once_in_order(world: World, limit: int) -> None:
    """Lists and titles mixed, with spellings, hidden accounts, and albums that are both."""
    seed, draw = world.seed, random.Random(4)
    accounts = [seed.account(f"a{n}", hidden=n == 3) for n in range(6)]
    words = ["Dawn", "dawn", "DÄWN", "Dusk", "Éclair", "noon", "Zebra", "ö", "Noon 2"]
    for account in accounts:
        for _ in range(6):
            name = draw.choice(words)
            tracks = [seed.track(account, "T", album=name) for _ in range(draw.randrange(3))]
            if draw.random() < 0.4:
                seed.list_of(account, name, tracks)
    seed.commit()
    whole = (await get(world.server, "/albums/", list_shapes.Albums))["albums"]
    found: list[Any] = []
    cursor = ""
    while True:
        page = await get(world.server, f"/albums/?limit={limit}{cursor}", list_shapes.Albums)
        found += page["albums"]
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        assert len(page["albums"]) == limit
        cursor = f"&cursor={page['next_cursor']}"
    assert found == whole
    assert [each["title"].lower() for each in whole] == sorted(each["title"].lower() for each in whole)
    apart = [
        each
        for n in range(6)
        if n != 3
        for each in (await get(world.server, f"/albums/a{n}.test", list_shapes.AlbumsOfArtist))["albums"]
    ]
    assert sorted(each["id"] for each in whole) == sorted(each["id"] for each in apart)
    assert len({each["id"] for each in whole}) == len(whole) > 15


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/albums/?cursor=x", 400, "invalid cursor format"),
        ("/albums/?limit=0", 422, "limit is a number from 1 to 100"),
        ("/albums/nobody.test", 404, "artist not found"),
        ("/albums/nobody.test/x", 404, "album not found"),
        ("/albums/ann.test/x", 404, "album not found"),
    ],
)
async def test_what_makes_no_sense_is_refused(world: World, path: str, status: int, detail: str) -> None:
    world.seed.account("ann")
    world.seed.commit()
    assert await refused(world.server, path) == (status, detail)


async def test_without_its_last_slash_it_is_sent_on(world: World) -> None:
    answer = await world.server.request("GET", "/albums?limit=3", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (307, "/albums/?limit=3")


def test_a_page_of_all_albums_reads_no_table_whole(database: str) -> None:
    """However many there are: 5,000 albums of eight tracks, every second one a list."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            """
            insert into repo (did) select 'did:web:' || n from generate_series(1, 2000) n;
            insert into profile (repo_id, hidden, card, search) select id, id % 50 = 0, '', '' from repo;
            insert into track_uri (uri) select 'at://x/' || n from generate_series(1, 40000) n;
            insert into track_stat (id) select id from track_uri;
            insert into track
                (id, repo_id, rkey, cid, sort_at, indexed_at, title, card, search, album, album_id)
                select id, 1 + id / 8 % 2000, id, '', now(), now(), '', '"image":""', '',
                       'Album ' || md5((id / 8)::text), md5((id / 8)::text)::uuid
                  from track_uri;
            insert into list (repo_id, rkey, list_type, name, items, sort_at, card, album_id)
                select repo_id, min(rkey), 'album', album, 8, now(), '', album_id
                  from track where id / 8 % 2 = 0 group by repo_id, album, album_id;
            insert into list_item (list_id, position, track_id)
                select l.id, t.id % 8, t.id from list l join track t using (album_id);
            """
        )
        conn.execute("vacuum analyze")
        conn.execute("set plan_cache_mode = force_generic_plan; set jit = off")
        conn.execute(f"prepare page as {STATEMENTS['albums_page']}".encode())
        start = ", ".join(f"'{each.decode()}'" for each in ALBUM.start)
        plan = conn.execute(f"explain (analyze) execute page ({start}, 51)".encode()).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "rows=51 loops=1" in text
    read = re.findall(r"Seq Scan on (track|track_stat|list|list_item|profile|repo)\b.*\(actual", text)
    assert read == []


async def test_an_address_follows_the_handle(world: World) -> None:
    seed = world.seed
    ann, bob = seed.account("ann"), seed.account("bob")
    seed.track(ann, "Hers", album="Same")
    seed.track(bob, "His", album="Same")
    seed.commit()
    assert titles(await get(world.server, "/albums/ann.test/same", list_shapes.Album)) == ["Hers"]
    async with await psycopg.AsyncConnection.connect(world.dsn, autocommit=True) as conn:
        await conn.execute("update repo set handle = null where id = %s", (ann,))
        await conn.execute("update profile set card = replace(card, 'ann.test', 'handle.invalid')")
        assert await refused(world.server, "/albums/ann.test/same") == (404, "album not found")
        await conn.execute("update repo set handle = 'ann.test' where id = %s", (bob,))
        await conn.execute("update profile set card = replace(card, 'bob.test', 'ann.test')")
    assert titles(await get(world.server, "/albums/ann.test/same", list_shapes.Album)) == ["His"]
    assert titles(await get(world.server, f"/albums/{seed.dids[ann]}/same", list_shapes.Album)) == ["Hers"]
