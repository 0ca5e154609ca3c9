"""What is taken down is in no answer of any route there is, and restored it is in all of them as it was.

Routes are those of the built application: a new one fails here until `PATHS`, `QUERIES` or `OTHERWISE` says
how it is asked, and a new XRPC method until `METHODS` or `STREAMS` does. Beside them the live feed from its
beginning, an export that was made before, and every form and size of a sound and a picture.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from uuid import uuid4

import aiohttp
import orjson
import psycopg
import pytest
from aiohttp import hdrs, web

from appview.jobs.attempt import Attempts
from appview.media.export import KIND, Exporter
from appview.protocol import make_runner
from appview.rest.media import SIGHT_S
from bin.kinds import job_queue
from bin.settings import load
from bin.web import application
from indexer.apply import apply_batch
from indexer.prepare import prepare
from indexer.profiles import refresh_profiles
from indexer.sanctions import restore, take_down
from lexicons.catalog import Catalog
from lexicons.subject import read_subject
from lexicons.syntax import AtUri, Did
from storage import repos, tracks
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Area
from storage.postgres import make_pool
from storage.sessions import Kind
from tests.fakenet.world import COMMENT, LIKE, LIST, PROFILE, TRACK, Author, album, comment, like, track
from tests.integration.appview.listener import BOB, happen, identity, listening
from tests.integration.appview.sounds import keep, owner_of
from tests.integration.appview.uploads.studio import SCOPE, add_key, bearer

CATALOG = Catalog.load()
ANN_KEY, EVE_KEY, LIST_KEY = "3mpt222222222", "3mpt222222333", "3mpt222222444"
# What is about a sign-in, a job or the service itself, and holds nothing of what artists publish.
OTHERWISE = re.compile(
    r"/auth/.*|/oauth-client-metadata\.json|/\.well-known/.*|/config|/openapi\.json|/private/.*"
    r"|/uploads.*|/tracks/uploads/.*|/tracks/\{track_id\}/revisions|/migration/.*|/metrics"
    r"|/robots\.txt|/xrpc.*|/sign-in|/account|/upload.*|/static.*|/health|/preferences/|/admin/.*"
)
STATE = "fm.plyr.sync.getRepoState"
PROOF = "fm.plyr.sync.getRecordProof"
FEED = "fm.plyr.sync.subscribe"
STREAMS = {FEED, "com.atproto.label.subscribeLabels"}  # labels tell of what is not shown, too
ZIP = "/exports/{id}/{name}"
WHEN = "2026-07-04T14:00:00.000Z"
PICTURE, SMALL = b"Xylopicture", b"Xylosmall"
SOUND, MP3, OPUS = b"Xylosound", b"Xylomp3", b"Xyloopus"
IMAGE_ID, FILE_ID = (hashlib.sha256(data).hexdigest() for data in (PICTURE, SOUND))
IMAGE_URL, AUDIO_URL = f"https://plyr.test/image/{IMAGE_ID}", f"https://plyr.test/audio/{FILE_ID}"


@dataclass
class Walk:
    """The application, who asks, and what every route and method is asked for. `artists`: headers of the one
    whose things these are, for what nobody else may ask. `forms`: other ways to ask a route."""

    url: str
    dsn: str
    app: web.Application
    http: aiohttp.ClientSession
    headers: dict[str, str]
    artists: dict[str, str]
    paths: dict[str, str]
    queries: dict[str, dict[str, str]]
    methods: dict[str, dict[str, str]]
    forms: dict[str, str]

    def asked(self) -> dict[str, str]:
        """Path of the route, or NSID → address."""
        found: dict[str, str] = {}
        for route in self.app.router.routes():
            path = route.resource.canonical if route.resource else ""
            if route.method != hdrs.METH_GET or OTHERWISE.fullmatch(path) or path == "":
                continue
            named = re.sub(r"\{(\w+)[^{}]*\}", r"{\1}", path)
            of = next((of for of in ("playlist", "export") if of in named), "track")
            named = named.replace("{id}", f"{{{of}_id}}")
            assert all(each in self.paths for each in re.findall(r"\{(\w+)\}", named)), f"unknown: {path}"
            filled = re.sub(r"\{(\w+)\}", lambda each: quote(self.paths[each[1]], safe=""), named)
            found[path] = f"{filled}?{urlencode(self.queries.get(path, {}))}"
        assert {m.nsid for m in CATALOG.methods.values() if m.kind == "subscription"} == STREAMS
        queries = [m.nsid for m in CATALOG.methods.values() if m.kind == "query"]
        for nsid in queries:
            name = nsid.removeprefix("fm.plyr.")
            assert name in self.methods, f"a new method: {name}"
            found[nsid] = f"/xrpc/{nsid}?{urlencode(self.methods[name])}"
        return found | self.forms

    async def answers(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for name, address in self.asked().items():
            headers = self.artists if name.startswith("/exports/") else self.headers
            async with self.http.get(self.url + address, headers=headers, allow_redirects=False) as got:
                assert got.status < 500, (name, await got.read())
                told = b"%d %s " % (got.status, got.headers.get("Location", "").encode())
                found[name] = told + await got.read()
        return found | {FEED: b"200  " + orjson.dumps(await self.told())}

    async def told(self) -> list[dict[str, Any]]:
        """All that a subscriber hears of the artist from the beginning on, each record with its URI."""
        found, end = list[dict[str, Any]](), f"{uuid4()}.test"
        async with listening(
            self.url, CATALOG, cursor=0, dids=[self.paths["did"], BOB], format="json"
        ) as listener:
            await happen(self.dsn, identity(BOB, end))
            while not found or found[-1].get("handle") != end:
                found.append(await listener.next())
        return [
            each | {"uri": f"at://{each['did']}/{each['collection']}/{each['rkey']}"}
            if "record" in each
            else each
            for each in found
            if each.get("did") != BOB
        ]


@asynccontextmanager
async def walking(dsn: str, folder: Path) -> AsyncIterator[tuple[Walk, Author]]:
    ann, eve = Author("ann"), Author("eve")
    song = eve.uri(TRACK, EVE_KEY)
    anns = ann.uri(TRACK, ANN_KEY)
    events = [
        ann.create(TRACK, ANN_KEY, track("Plain")),
        eve.create(
            PROFILE,
            "self",
            {"$type": PROFILE, "bio": "Xylobio", "avatar": IMAGE_URL, "createdAt": WHEN},
        ),
        eve.create(
            TRACK,
            EVE_KEY,
            track("Xylotrack", album="Xylolist", imageUrl=IMAGE_URL, audioUrl=AUDIO_URL),
        ),
        eve.create(COMMENT, EVE_KEY, comment(anns, "Xylocomment")),
        eve.create(LIKE, EVE_KEY, like(anns)),
        eve.create(LIST, LIST_KEY, album("Xylolist", [anns]) | {"listType": "playlist"}),
        ann.create(LIKE, EVE_KEY, like(song)),
    ]
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        identities = [ann.identity, eve.identity]
        await apply_batch(
            conn, prepare(events, CATALOG), catalog=CATALOG, source="wss://x", seq=None, identities=identities
        )
        await conn.execute("update repo set handle = 'ann.test' where did = %s", (ann.did,))
        await conn.execute("update repo set handle = 'eve.test' where did = %s", (eve.did,))
        await refresh_profiles(conn, await repos.all_ids(conn), CATALOG)
        await conn.execute("update track_stat set plays = 1")
        for uri in (anns, song):
            await tracks.tag(conn, AtUri(uri), ["noise"])
        await conn.execute("insert into play_day select id, current_date, 1 from track")
        store = FilesystemStore(folder / "blobs")
        keep_image = partial(keep, dsn, store, area=Area.IMAGE, mime="image/png")
        sound = await keep(dsn, store, SOUND, owner=owner_of(song))
        cover = await keep_image(PICTURE, owner=owner_of(song))
        await keep_image(PICTURE, kind="list", owner=f"{eve.did}/{LIST_KEY}")
        small = await keep_image(SMALL, kind="image", owner=str(cover.id))
        await conn.execute(
            "insert into image_rendition (blob_id, width, height, rendition_id) values (%s, 160, 160, %s)",
            (cover.id, small.id),
        )
        made = {SOUND: sound}
        await conn.execute("insert into sound values (%s, 'x', 'x', 44100, 2, 3, false)", (sound.id,))
        for data, form in ((MP3, "mp3"), (OPUS, "opus")):
            made[data] = await keep(dsn, store, data, kind="sound", owner=str(sound.id))
            await conn.execute("insert into sound values (%s, 'x', 'x', 44100, 2, 3, true)", (made[data].id,))
            await conn.execute(
                "insert into sound_rendition values (%s, %s, %s)", (sound.id, made[data].id, form)
            )
        await conn.execute(
            "insert into track_media (did, rkey, stream_id, cover_id, published_at)"
            " values (%s, %s, %s, %s, now())",
            (eve.did, EVE_KEY, sound.id, cover.id),
        )
        await conn.execute(
            "insert into list_look (did, name, cover_id) values (%s, %s, %s)", (eve.did, LIST_KEY, cover.id)
        )
        numbers = "select t.id, t.file_id, l.id from track t, list l where t.rkey = %s"
        row = await (await conn.execute(numbers, (EVE_KEY,))).fetchone()
    assert row is not None
    number, file_id, list_id = (str(each) for each in row)
    export_id = await exported(dsn, store, eve.did)
    forms = {
        "/image/{sha256} in small": f"/image/{IMAGE_ID}?w=160",
        "/image/{sha256} of the small one": f"/image/{small.sha256}",
        "/audio/{file_id} for every browser": f"/audio/{FILE_ID}?playable",
        "/audio/{file_id} in Opus": f"/audio/{FILE_ID}?format=opus",
        "/audio/{file_id} of the MP3": f"/audio/{made[MP3].sha256}",
        "/audio/{file_id} of the Opus": f"/audio/{made[OPUS].sha256}",
    }
    target = {"target": anns, "collection": COMMENT, "path": ".subject.uri"}
    playlist = eve.uri(LIST, LIST_KEY)
    queries = {
        "/tracks/by-uri": {"uri": song},
        "/tracks/": {"artist_did": eve.did},
        "/search/": {"q": "xylo"},
        "/search/handles": {"q": "eve"},
        "/oembed": {"url": f"https://plyr.test/track/{number}"},
        "/lists/by-uri": {"uri": playlist},
        "/lists/playlists/by-uri": {"uri": playlist},
        "/links": target,
        "/links/all": {"target": anns},
        "/links/count": target,
        "/links/count/distinct-dids": target,
    }
    paths = {
        "track_id": number, "handle": "eve.test", "did": eve.did, "slug": "xylolist", "tag": "noise",
        "file_id": file_id, "artist_did": eve.did, "playlist_id": list_id, "sha256": IMAGE_ID,
        "export_id": export_id,
    }  # fmt: skip
    by_actor, of_song = {"actor": "eve.test"}, {"uri": song}
    methods: dict[str, dict[str, str]] = {
        "actor.getProfile": by_actor, "actor.getProfiles": {"actors": "eve.test"},
        "actor.searchActors": {"q": "eve"}, "feed.getActorLikes": {"actor": "ann.test"},
        "feed.getActorTracks": by_actor, "feed.getComments": {"uri": anns}, "feed.getLatest": {},
        "feed.getLikes": {"uri": anns}, "feed.getTop": {}, "feed.getTrack": of_song,
        "feed.getTracks": {"uris": song}, "feed.searchTracks": {"q": "xylotrack"},
        "graph.getActorLists": by_actor, "graph.getList": {"list": playlist}, "server.describe": {},
        "server.getStats": {}, "sync.getRecordProof": of_song, "sync.getRepoState": by_actor,
        "actor.getPreferences": {}, "audio.getLimits": {},
        "audio.getJob": {"id": "00000000-0000-4000-8000-000000000000"},
        "com.atproto.label.queryLabels": {"uriPatterns": f"at://{eve.did}/*"},
    }  # fmt: skip
    settings = load({"database_url": dsn, "data_dir": str(folder), "public_url": "https://plyr.test"}, {})
    async with application(settings, CATALOG) as app:
        runner = make_runner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        headers, artists = [
            bearer(await add_key(dsn, did, scope=SCOPE, granted=True, kind=Kind.TOKEN))
            for did in (ann.did, eve.did)
        ]
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with aiohttp.ClientSession() as http:
                queue = {"state": {"track_ids": [file_id]}}
                async with http.put(f"{url}/queue/", headers=headers, json=queue) as got:
                    assert got.status == 200
                way = f"{url}/exports/{export_id}/download"
                async with http.get(way, headers=artists, allow_redirects=False) as got:
                    where = urlsplit(got.headers["Location"])
                paths["name"], queries[ZIP] = where.path.rpartition("/")[2], dict(parse_qsl(where.query))
                yield Walk(url, dsn, app, http, headers, artists, paths, queries, methods, forms), eve
        finally:
            await runner.cleanup()


async def exported(dsn: str, store: FilesystemStore, did: Did) -> str:
    """The id of an export of all that somebody has."""
    async with make_pool(dsn, max_size=2, name="test") as pool:
        async with pool.connection() as conn, conn.transaction():
            id = await job_queue().enqueue(conn, KIND, did=did, subject=did, args={"track_count": 1})
        assert id is not None
        await Attempts(pool, Exporter(pool, store, keep_days=7).tasks).make(id)
    return str(id)


THINGS = {
    "track": (TRACK, EVE_KEY, [b"Xylotrack", f"{TRACK}/{EVE_KEY}".encode(), SOUND, MP3, OPUS]),
    "comment": (COMMENT, EVE_KEY, [b"Xylocomment", f"{COMMENT}/{EVE_KEY}".encode()]),
    "list": (LIST, LIST_KEY, [f"{LIST}/{LIST_KEY}".encode()]),
    "profile": (PROFILE, "self", [b"Xylobio"]),
    "account": (None, None, [b"Xylo", b"eve.test"]),
}


@pytest.mark.parametrize("thing", THINGS)
async def test_it_is_in_no_answer_and_restored_in_all_as_before(
    database: str, tmp_path: Path, thing: str
) -> None:
    collection, rkey, traces = THINGS[thing]
    async with (
        walking(database, tmp_path) as (walk, eve),
        await psycopg.AsyncConnection.connect(database, autocommit=True) as conn,
    ):
        subject = read_subject(eve.did if collection is None else eve.uri(collection, rkey or ""))
        before = await walk.answers()
        for trace in traces:
            assert any(trace in answer for answer in before.values()), trace
        async with conn.transaction():
            assert await take_down(conn, subject, "copyright", CATALOG)
        await asyncio.sleep(SIGHT_S)
        meanwhile = await walk.answers()
        if collection is None:  # says of whoever asks for the account that it is taken down
            assert b'"takendown"' in meanwhile.pop(STATE)
        seen = {(name, trace) for name, answer in meanwhile.items() for trace in traces if trace in answer}
        assert seen == set()
        async with conn.transaction():
            assert await restore(conn, subject, CATALOG)
        await asyncio.sleep(SIGHT_S)
        after = await walk.answers()
        changed = {name for name in before if timeless(before[name]) != timeless(after[name])}
        assert changed <= {STATE, FEED}  # which tell of our decisions, without their reasons
        # Who follows reads an account anew that is there again.
        again = (
            [b'"active":true'] if collection is None else [each for each in traces if each in before[FEED]]
        )
        assert all(trace in after[FEED] for trace in again)


# What leads to bytes, by what they are; `file_id` is how a sound is called, wherever it is.
BYTES = {
    "picture": (IMAGE_ID, [PICTURE, SMALL, IMAGE_ID.encode()]),
    "sound": (FILE_ID, [SOUND, MP3, OPUS, f"/audio/{FILE_ID}".encode()]),
}


@pytest.mark.parametrize("thing", BYTES)
async def test_bytes_are_in_no_answer_and_no_answer_leads_to_them_and_restored_all_is_as_before(
    database: str, tmp_path: Path, thing: str
) -> None:
    """But in records as they were signed, which say where they once were."""
    sha256, traces = BYTES[thing]
    async with (
        walking(database, tmp_path) as (walk, eve),
        await psycopg.AsyncConnection.connect(database, autocommit=True) as conn,
    ):
        subject = read_subject(f"{eve.did}/{sha256}")
        before = await walk.answers()
        told = {name: _unsigned(answer) for name, answer in before.items()}
        for trace in traces:
            wanted = 1 if trace.startswith(b"Xylo") else 8
            assert sum(trace in answer for answer in told.values()) >= wanted, trace
        async with conn.transaction():
            assert await take_down(conn, subject, "sexual", CATALOG)
        await asyncio.sleep(SIGHT_S)
        meanwhile = await walk.answers()
        del meanwhile[PROOF]
        if thing == "picture":
            del meanwhile[ZIP]  # records and sounds
        seen = {
            (name, trace)
            for name, answer in meanwhile.items()
            for trace in traces
            if trace in _unsigned(answer)
        }
        assert seen == set()
        gone = "/image/{sha256}" if thing == "picture" else "/audio/{file_id}"
        assert meanwhile[gone].startswith(b"410 ")
        async with conn.transaction():
            assert await restore(conn, subject, CATALOG)
        await asyncio.sleep(SIGHT_S)
        after = await walk.answers()
        changed = {name for name in before if timeless(before[name]) != timeless(after[name])}
        assert changed <= {STATE, FEED}


def _unsigned(answer: bytes) -> bytes:
    """An answer in JSON without the records in it; any other as it is."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without(each) for name, each in value.items() if name != "record"}
        return [without(each) for each in value] if isinstance(value, list) else value

    head, _, body = answer.partition(b" ")
    location, _, text = body.partition(b" ")
    try:
        return b" ".join([head, location, orjson.dumps(without(orjson.loads(text)))])
    except orjson.JSONDecodeError:
        return answer


def timeless(answer: bytes) -> bytes:
    """Without moments of now, and what a page is given for one answer alone."""
    fleeting = rb"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)|nonce[^ >]+|\"cached_at[^,}]+|\?[^ \"]*expires[^ \"]*"
    return re.sub(fleeting, b"", answer)
