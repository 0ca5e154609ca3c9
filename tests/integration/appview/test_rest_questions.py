"""What each REST route that reads asks of the database: so many questions, however much is in it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from aiohttp import hdrs, web

from appview.app import make_reader
from appview.protocol import make_runner
from appview.rest.openapi import Described, routes
from bin.settings import load
from bin.web import application
from lexicons.catalog import Catalog
from storage.reader import Reads
from storage.sessions import Kind
from tests.integration.appview.seed import Seed
from tests.integration.appview.test_questions import Counting
from tests.integration.appview.uploads.studio import SCOPE, add_key, bearer

# Questions of each, with the one that finds who asks where somebody does.
MOST = {
    "/albums/": 1,
    "/albums/{handle}": 2,
    "/albums/{handle}/{slug}": 4,
    "/artists/by-handle/{handle}": 1,
    "/artists/me": 2,
    "/artists/me/analytics": 2,
    "/artists/me/analytics/days": 2,
    "/artists/{did}": 1,
    "/artists/{did}/analytics": 1,
    "/audio/{file_id}": 1,
    "/audio/{file_id}/download": 1,
    "/audio/{file_id}/url": 1,
    "/health": 1,
    "/links": 2,
    "/links/all": 1,
    "/links/count": 1,
    "/links/count/distinct-dids": 1,
    "/lists/by-uri": 4,
    "/lists/playlists": 3,
    "/lists/playlists/by-artist/{artist_did}": 2,
    "/lists/playlists/by-uri": 5,
    "/lists/playlists/{playlist_id}": 4,
    "/lists/playlists/{playlist_id}/meta": 1,
    "/lists/playlists/{playlist_id}/recommendations": 2,
    "/moderation/sensitive-images": 1,
    "/now-playing/by-did/{did}": 3,
    "/now-playing/by-handle/{handle}": 3,
    "/oembed": 3,
    "/preferences/": 2,
    "/queue/": 3,
    "/search/": 8,  # of them two, once a minute, for how common words are
    "/search/handles": 1,
    "/sitemap-data": 1,
    "/stats": 2,
    "/tracks/": 4,
    "/tracks/by-uri": 4,
    "/tracks/liked": 3,
    "/tracks/me": 4,
    "/tracks/me/broken": 3,
    "/tracks/tags": 1,
    "/tracks/tags/{tag}": 3,
    "/tracks/top": 3,
    "/tracks/{track_id}": 3,
    "/tracks/{track_id}/comments": 3,
    "/tracks/{track_id}/likes": 2,
    "/transparency.json": 1,
    "/users/{handle}/likes": 5,
}
# What is read in one exchange with whose the key is.
AHEAD = {
    "/albums/{handle}/{slug}",
    "/artists/me/analytics",
    "/artists/me/analytics/days",
    "/lists/playlists",
    "/lists/playlists/by-uri",
    "/lists/playlists/{playlist_id}",
    "/preferences/",
    "/queue/",
    "/tracks/",
    "/tracks/by-uri",
    "/tracks/liked",
    "/tracks/me",
    "/tracks/me/broken",
    "/tracks/tags/{tag}",
    "/tracks/top",
    "/tracks/{track_id}",
}
# Flows, streams, files, and what is about a sign-in or a job: they ask through transactions, or of others.
OTHERWISE = re.compile(
    r"/admin/.*|/auth/.*|/oauth-client-metadata\.json|/\.well-known/.*|/config|/openapi\.json|/private/.*|/image/.*"
    r"|/uploads|/tracks/uploads/.*|/tracks/\{track_id\}/revisions|/exports/.*|/migration/.*"
)


@dataclass
class Full:
    """A server of everything, on a database with so much of each, and who asks."""

    url: str
    dsn: str
    counting: Counting
    described: list[Described]
    key: str
    values: Mapping[str, str]
    queries: Mapping[str, Mapping[str, str]]

    async def ask(self, path: str, http: aiohttp.ClientSession) -> list[str]:
        """The names of the questions that an answer took."""
        self.counting.asked.clear()
        filled = re.sub(r"\{(\w+)\}", lambda found: quote(self.values[found[1]], safe=""), path)
        query = urlencode(self.queries.get(path, {}))
        async with http.get(
            f"{self.url}{filled}?{query}", headers=bearer(self.key), allow_redirects=False
        ) as one:
            body = await one.read()
            assert one.status in (200, 307), (path, one.status, body)
        return list(self.counting.asked)


@asynccontextmanager
async def counted(dsn: str, connections: int, into: list[Counting]) -> AsyncIterator[Reads]:
    async with make_reader(dsn, connections=connections) as reads:
        into.append(Counting(reads))
        yield into[0]


@asynccontextmanager
async def full(dsn: str, catalog: Catalog, folder: Path, size: int) -> AsyncIterator[Full]:
    seed = Seed(dsn, catalog)
    people = [seed.account(f"ann{number}", display_name="Ann") for number in range(size)]
    did = seed.dids[people[0]]
    featured = [{"did": seed.dids[each]} for each in people[:10]]
    tracks = [
        seed.track(people[0], f"song {number}", album="An Album", features=featured) for number in range(size)
    ]
    for person, track in zip(people, tracks, strict=True):
        seed.like(person, tracks[0])
        seed.like(people[0], track)
        seed.comment(person, tracks[0], "hm")
        seed.list_of(people[0], "An Album", tracks)
        seed.list_of(people[0], "Mix", tracks, "playlist")
    playlist = seed.list_of(people[0], "Mix", tracks, "playlist")
    seed.conn.execute("update track_stat set tags = '{noise}', plays = 1")
    seed.conn.execute("insert into play_day select id, current_date, 1 from track")
    seed.conn.execute(
        "insert into preference (did, chosen) values (%s, '{\"allow_comments\": true}')", (did,)
    )
    seed.heard()
    row = seed.conn.execute("select id, file_id from track order by id limit 1").fetchone()
    assert row is not None
    [number] = seed.conn.execute("select max(id) from list").fetchone() or [None]
    seed.commit()
    given = {"database_url": dsn, "data_dir": str(folder), "public_url": "https://plyr.test"}
    settings = load(given, {"PLYR_AUDIO_ORIGINS": "https://audio.test"})
    counting: list[Counting] = []

    def reader(dsn: str, *, connections: int) -> Any:
        return counted(dsn, connections, counting)

    seed.close()
    async with application(settings, catalog, reader=reader) as app:
        runner = make_runner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        key = await add_key(dsn, did, scope=SCOPE, granted=True, kind=Kind.TOKEN)
        async with aiohttp.ClientSession() as http:
            state = {"state": {"track_ids": [row[1]]}}
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with http.put(f"{url}/queue/", json=state, headers=bearer(key)) as answer:
                assert answer.status == 200
            playing = {"track_id": row[0], "file_id": row[1], "track_name": "", "artist_name": ""}
            playing |= {"duration_ms": 1, "progress_ms": 0, "is_playing": True}
            async with http.post(f"{url}/now-playing/", json=playing, headers=bearer(key)) as answer:
                assert answer.status == 200
        values = {
            "track_id": str(row[0]), "handle": "ann0.test", "did": did, "slug": "an-album", "tag": "noise",
            "file_id": row[1], "artist_did": did, "playlist_id": str(number),
        }  # fmt: skip
        target = {"target": tracks[0], "collection": "fm.plyr.like", "path": ".subject.uri"}
        queries = {
            "/tracks/by-uri": {"uri": tracks[0].replace(did, "ann0.test")},
            "/tracks/": {"artist_did": "ann0.test"},
            "/search/": {"q": "album"},
            "/search/handles": {"q": "ann"},
            "/oembed": {"url": f"https://plyr.test/track/{row[0]}"},
            "/lists/by-uri": {"uri": playlist},
            "/lists/playlists/by-uri": {"uri": playlist},
            "/links": target,
            "/links/all": {"target": tracks[0]},
            "/links/count": target,
            "/links/count/distinct-dids": target,
        }
        found = [each for each in routes(app.router) if each.method == hdrs.METH_GET]
        yield Full(url, dsn, counting[0], found, key, values, queries)
        await runner.cleanup()


@pytest.mark.parametrize("size", [1, 60])
async def test_questions_do_not_grow_with_the_answer(
    database: str, catalog: Catalog, tmp_path: Path, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    async with full(database, catalog, tmp_path, size) as server, aiohttp.ClientSession() as http:
        paths = [each.path for each in server.described if OTHERWISE.fullmatch(each.path) is None]
        assert sorted(paths) == sorted(MOST)
        for path in sorted(paths):
            asked = await server.ask(path, http)
            told.append(f"{path:32} {len(asked)}  {' '.join(asked)}")
            assert 1 <= len(asked) <= MOST[path], told[-1]
            assert ("viewers_holder" in asked) == (path in AHEAD), told[-1]
    if size > 1:
        with capsys.disabled():
            print("\nquestions of each REST route that reads, of", size, "of everything:", *told, sep="\n")
