"""Sound and images by their hash: who may have what, and until when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import psycopg
import pytest

from appview.auth.keyring import GivenKeys, KeyRing, new_key
from appview.guards import GuardConfig
from appview.limits import Limit
from appview.media.container import OPUS
from appview.media.serve import ALONE
from appview.media.signed import BadLink, Expired, Links
from appview.rest.media import SIGHT_S, Media
from appview.sound_origins import ANYWHERE, SoundOrigins
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import accounts, repos
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Area
from storage.reader import Cell, Question, Reads, Rows
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import World, served
from tests.integration.appview.sounds import keep, owner_of

RING = KeyRing(GivenKeys([new_key()]))
LINKS = Links(RING)
LIST = "/moderation/sensitive-images"
SOUND, OTHER = b"sound" * 1000, b"other" * 1000
ANN = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
LIMIT = Limit(10, 60)


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "blobs")


@pytest.fixture
async def world(database: str, catalog: Catalog, store: FilesystemStore) -> AsyncIterator[World]:
    seed = Seed(database, catalog)

    def parts(reads: Reads) -> dict[str, object]:
        return {"media": Media(reads, store, LINKS, ALONE, SoundOrigins([ANYWHERE]))}

    try:
        async with served(database, catalog, parts=parts, guards=GuardConfig(limit=LIMIT)) as server:
            yield World(server, seed, database)
    finally:
        seed.close()


async def status(world: World, path: str) -> int:
    return (await world.server.request("GET", path)).status


async def test_a_sound_is_there_while_a_track_that_has_it_is_in_sight(
    world: World, store: FilesystemStore
) -> None:
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    ours, theirs = world.seed.track(ann, "one"), world.seed.track(bob, "the same")
    world.seed.commit()
    blob = await keep(world.dsn, store, SOUND, owner=owner_of(ours))
    await keep(world.dsn, store, SOUND, owner=owner_of(theirs))
    path = f"/audio/{blob.sha256}"

    answer = await world.server.request("GET", path, headers={"Origin": "https://else.example"})
    assert (answer.status, answer.body) == (200, SOUND)
    assert answer.headers["Content-Type"] == "audio/mpeg"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    part = await world.server.request("GET", path, headers={"Range": "bytes=1-4"})
    assert (part.status, part.body) == (206, SOUND[1:5])
    head = await world.server.request("HEAD", path)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(SOUND)))

    world.seed.conn.execute("update profile set hidden = true where repo_id = %s", (ann,))
    world.seed.commit()
    await asyncio.sleep(SIGHT_S)
    assert await status(world, path) == 200  # bob's is still there
    world.seed.conn.execute("update profile set hidden = true")
    world.seed.commit()
    assert SIGHT_S < 1
    await asyncio.sleep(SIGHT_S)
    assert await status(world, path) == 410
    world.seed.conn.execute("update profile set hidden = false")
    world.seed.forget(theirs)
    world.seed.forget(ours)
    world.seed.commit()
    await asyncio.sleep(SIGHT_S)
    assert await status(world, path) == 404


async def test_what_no_track_shows_is_not_found(world: World, store: FilesystemStore) -> None:
    blob = await keep(world.dsn, store, SOUND, kind="job", owner="1")
    exported = await keep(world.dsn, store, OTHER, area=Area.EXPORT, kind="export", owner="1")
    for path in (
        f"/audio/{blob.sha256}",
        f"/image/{blob.sha256}",
        f"/audio/{exported.sha256}",
        f"/audio/{'0' * 64}",
        f"/audio/{blob.sha256[:16]}",
        f"/audio/{blob.sha256.upper()}",
        "/audio/%00",
    ):
        assert await status(world, path) == 404, path


FAR = "https://far.example/audio/0123456789abcdef.mp3"


async def test_players_are_sent_to_sound_that_is_elsewhere(world: World) -> None:
    ann, eve = world.seed.account("ann"), world.seed.account("eve", hidden=True)
    for who, url in (
        (ann, FAR),
        (eve, "https://far.example/audio/fedcba9876543210.mp3"),
        (ann, f"{world.server.url}/audio/{'a' * 64}"),  # of ours, and gone
        (ann, f"ftp://far.example/audio/{'b' * 64}"),
        (ann, f"https://far.example/audio/{'c' * 64}"),
    ):
        world.seed.track(who, "one", audioUrl=url, album="without a picture")
    world.seed.heard()
    world.seed.commit()
    ask = partial(world.server.request, allow_redirects=False)
    for path in ("/audio/0123456789abcdef", "/audio/0123456789abcdef/download"):
        for headers in ({}, {"Sec-Fetch-Dest": "audio"}, {"Sec-Fetch-Dest": "empty"}):
            answer = await ask("GET", path, headers=headers)
            assert (answer.status, answer.headers["Location"]) == (307, FAR)
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
        for kind in ("document", "iframe"):  # nobody is led to a stranger's page by an address of ours
            assert (await ask("GET", path, headers={"Sec-Fetch-Dest": kind})).status == 404
    told = await ask("GET", "/audio/0123456789abcdef/url")
    assert told.json == {"url": FAR, "file_id": "0123456789abcdef", "file_type": "mp3"}
    far = await ask("GET", f"/audio/{'c' * 64}")
    assert far.headers["Location"] == f"https://far.example/audio/{'c' * 64}"
    for name in ("fedcba9876543210", "a" * 64, "b" * 64, "0" * 16, "x"):
        assert await status(world, f"/audio/{name}") == 404, name


async def test_a_sound_is_saved_under_the_name_of_its_track(world: World, store: FilesystemStore) -> None:
    uri = world.seed.track(world.seed.account("ann"), "Night/Ferry")
    world.seed.commit()
    blob = await keep(world.dsn, store, SOUND, owner=owner_of(uri))
    path = f"/audio/{blob.sha256}"
    saved = await world.server.request("GET", path + "/download", headers={"Range": "bytes=0-4"})
    assert (saved.status, saved.body) == (206, b"sound")
    assert "Night%20Ferry.mp3" in saved.headers["Content-Disposition"]
    told = await world.server.request("GET", path + "/url")
    assert told.json == {"url": world.server.url + path, "file_id": blob.sha256, "file_type": "mp3"}
    for none in ("é..b", "a/b", ""):  # hosts that are none
        answers = [
            await world.server.request("GET", p, headers={"Host": none}) for p in (path + "/url", LIST)
        ]
        assert [answer.status for answer in answers] == [200, 200]
        assert answers[0].json["url"] == f"http://localhost{path}"


async def test_what_a_track_does_not_play_is_not_found(world: World, store: FilesystemStore) -> None:
    uri = world.seed.track(world.seed.account("ann"), "one")
    did, rkey = owner_of(uri).split("/")
    old = await keep(world.dsn, store, OTHER, owner=f"{did}/{rkey}/3")
    original = await keep(world.dsn, store, SOUND, owner=owner_of(uri))
    made = await keep(world.dsn, store, b"made of it", owner=owner_of(uri))

    async def plays(stream_id: int) -> list[int]:
        world.seed.conn.execute(
            "insert into track_media (did, rkey, original_id, stream_id) values (%s, %s, %s, %s) "
            "on conflict (did, rkey) do update set stream_id = excluded.stream_id",
            (did, rkey, original.id, stream_id),
        )
        world.seed.commit()
        await asyncio.sleep(SIGHT_S)
        return [await status(world, f"/audio/{blob.sha256}") for blob in (old, original, made)]

    assert await plays(made.id) == [404, 404, 200]
    assert await plays(original.id) == [404, 200, 200]


async def test_a_published_blob_whose_object_is_gone_is_not_found(
    world: World, store: FilesystemStore
) -> None:
    uri = world.seed.track(world.seed.account("ann"), "one")
    world.seed.commit()
    blob = await keep(world.dsn, store, SOUND, owner=owner_of(uri))
    await store.delete(blob.key)
    assert await status(world, f"/audio/{blob.sha256}") == 404


async def test_only_what_is_not_there_is_counted(world: World, store: FilesystemStore) -> None:
    uri = world.seed.track(world.seed.account("ann"), "one")
    world.seed.commit()
    path = f"/audio/{(await keep(world.dsn, store, SOUND, owner=owner_of(uri))).sha256}"
    assert {await status(world, path) for _ in range(LIMIT.requests + 1)} == {200}
    missing = [await status(world, f"/audio/{number:064}") for number in range(LIMIT.requests)]
    assert set(missing) == {404}
    refused = await world.server.request("GET", f"/image/{'0' * 64}")
    assert (refused.status, refused.headers["RateLimit-Remaining"]) == (429, "0")
    assert await status(world, path) == 429
    assert await status(world, "/robots.txt") == 200
    page = await world.server.request("GET", "/")  # pages are counted by themselves
    assert page.headers["RateLimit-Remaining"] == str(LIMIT.requests - 1)


class Noted:
    """Reads, and notes what widths it is asked for."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self.extensions = reads.extensions
        self.widths: set[object] = set()

    async def fetch(self, name: str, *params: Cell) -> Rows:
        self.widths.add(params[2])
        return await self._reads.fetch(name, *params)

    async def fetch_all(self, *questions: Question) -> list[Rows]:
        return [await self.fetch(name, *params) for name, params in questions]


async def test_all_widths_are_few_questions(database: str, catalog: Catalog, store: FilesystemStore) -> None:
    noted: list[Noted] = []

    def parts(reads: Reads) -> dict[str, object]:
        noted.append(Noted(reads))
        return {"media": Media(noted[0], store, LINKS, ALONE, SoundOrigins([ANYWHERE]))}

    async with served(database, catalog, parts=parts) as server:
        for width in (1, 2, 159, 160, 161, 500, 641, 1200, 1201, 99_999):
            await server.request("GET", f"/image/{'0' * 64}?w={width}")
    assert noted[0].widths == {b"160", b"320", b"640", b"1200", None}


async def test_it_can_be_saved_under_the_name_of_its_track(world: World, store: FilesystemStore) -> None:
    uri = world.seed.track(world.seed.account("ann"), 'Mein "Stück"/\r\n 1')
    world.seed.commit()
    blob = await keep(world.dsn, store, SOUND, owner=owner_of(uri))
    answer = await world.server.request("GET", f"/audio/{blob.sha256}?download")
    assert (
        answer.headers["Content-Disposition"]
        == "attachment; filename*=UTF-8''Mein%20%22St%C3%BCck%22%20%201.mp3"
    )


async def test_an_image_comes_in_the_next_larger_width(world: World, store: FilesystemStore) -> None:
    uri = world.seed.track(world.seed.account("ann"), "one")
    world.seed.commit()
    image = await keep(world.dsn, store, b"large", area=Area.IMAGE, mime="image/png", owner=owner_of(uri))
    small: dict[int, str] = {}
    for width in (160, 640):
        made = await keep(
            world.dsn,
            store,
            b"%d" % width,
            area=Area.IMAGE,
            mime="image/webp",
            kind="image",
            owner=str(image.id),
        )
        world.seed.conn.execute(
            "insert into image_rendition (blob_id, width, height, rendition_id) values (%s, %s, %s, %s)",
            (image.id, width, width, made.id),
        )
        small[width] = made.sha256
    world.seed.commit()
    for query, body, mime in (
        ("", b"large", "image/png"),
        ("?w=1", b"160", "image/webp"),
        ("?w=160", b"160", "image/webp"),
        ("?w=161", b"640", "image/webp"),
        ("?w=641", b"large", "image/png"),
        ("?w=99999", b"large", "image/png"),
    ):
        answer = await world.server.request("GET", f"/image/{image.sha256}{query}")
        assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, body, mime), query
    assert await status(world, f"/image/{small[160]}") == 200
    assert await status(world, f"/image/{image.sha256}?w=0") == 422
    world.seed.conn.execute("update profile set hidden = true")
    world.seed.commit()
    await asyncio.sleep(SIGHT_S)
    for sha256 in (image.sha256, *small.values()):
        assert await status(world, f"/image/{sha256}") == 410


async def test_a_sound_comes_as_every_browser_plays_it(world: World, store: FilesystemStore) -> None:
    """Where that was made, and else not at all: what is not there yet must not be taken for it for ever."""
    uri = world.seed.track(world.seed.account("ann"), "one")
    world.seed.commit()
    found = await keep(world.dsn, store, SOUND, mime="audio/aiff", owner=owner_of(uri))
    head = "insert into sound values (%s, 'x', 'x', 44100, 2, 3, %s)"
    world.seed.conn.execute(head, (found.id, False))
    world.seed.commit()
    path = f"/audio/{found.sha256}"
    assert (await status(world, path), await status(world, f"{path}?playable")) == (200, 404)

    made = await keep(world.dsn, store, OTHER, kind="sound", owner=str(found.id))
    world.seed.conn.execute(head, (made.id, True))
    world.seed.conn.execute("insert into sound_rendition values (%s, %s)", (found.id, made.id))
    world.seed.commit()
    await asyncio.sleep(SIGHT_S)
    for query, body, mime in (("", SOUND, "audio/aiff"), ("?playable", OTHER, "audio/mpeg")):
        answer = await world.server.request("GET", path + query)
        assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, body, mime)
    for query in ("", "?playable"):
        answer = await world.server.request("GET", f"/audio/{made.sha256}{query}")
        assert (answer.status, answer.body) == (200, OTHER)

    world.seed.conn.execute("update profile set hidden = true")
    world.seed.commit()
    await asyncio.sleep(SIGHT_S)
    for path in (f"/audio/{found.sha256}", f"/audio/{found.sha256}?playable", f"/audio/{made.sha256}"):
        assert await status(world, path) == 410


async def test_a_sound_comes_as_opus_where_that_was_made(world: World, store: FilesystemStore) -> None:
    """Of what its track plays, be it playable itself or not, and gone with it."""
    uri = world.seed.track(world.seed.account("ann"), "one")
    world.seed.commit()
    found = await keep(world.dsn, store, SOUND, owner=owner_of(uri))
    head = "insert into sound values (%s, 'x', 'x', 44100, 2, 3, %s)"
    world.seed.conn.execute(head, (found.id, True))
    world.seed.commit()
    path = f"/audio/{found.sha256}"
    asked = await world.server.request(
        "GET", f"{path}?format=opus", headers={"Origin": "https://else.example"}
    )
    assert asked.status == 404
    assert "immutable" not in asked.headers.get("Cache-Control", "")
    for unknown in ("", "mp3", "OPUS", "flac"):
        assert await status(world, f"{path}?format={unknown}") == 422

    made = await keep(world.dsn, store, OTHER, mime=OPUS.mime, kind="sound", owner=str(found.id))
    world.seed.conn.execute(head, (made.id, False))
    world.seed.conn.execute("insert into sound_rendition values (%s, %s, 'opus')", (found.id, made.id))
    world.seed.commit()
    await asyncio.sleep(SIGHT_S)
    answer = await world.server.request("GET", f"{path}?format=opus")
    assert (answer.status, answer.body) == (200, OTHER)
    assert answer.headers["Content-Type"] == "audio/ogg; codecs=opus"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    part = await world.server.request("GET", f"{path}?format=opus", headers={"Range": "bytes=1-4"})
    assert (part.status, part.body) == (206, OTHER[1:5])
    known = {"If-None-Match": answer.headers["ETag"]}
    assert (await world.server.request("GET", f"{path}?format=opus", headers=known)).status == 304
    saved = await world.server.request("GET", f"{path}?format=opus&download")
    assert saved.headers["Content-Disposition"].endswith("''one.opus")
    for query in ("", "?playable"):
        plain = await world.server.request("GET", path + query, headers=known)
        assert (plain.status, plain.body, plain.headers["Content-Type"]) == (200, SOUND, "audio/mpeg")
    own = f"/audio/{made.sha256}"
    assert (await status(world, own), await status(world, f"{own}?playable")) == (200, 404)
    assert await status(world, f"{own}?format=opus") == 404

    world.seed.conn.execute("update profile set hidden = true")
    world.seed.commit()
    await asyncio.sleep(SIGHT_S)
    for gone in (f"{path}?format=opus", own):
        assert await status(world, gone) == 410
    world.seed.conn.execute("update profile set hidden = false")
    world.seed.forget(uri)
    world.seed.commit()
    await asyncio.sleep(SIGHT_S)
    for gone in (f"{path}?format=opus", own):
        assert await status(world, gone) == 404


async def test_what_is_private_wants_a_signed_address(world: World, store: FilesystemStore) -> None:
    uri = world.seed.track(world.seed.account("ann"), "one")
    world.seed.commit()
    blob = await keep(world.dsn, store, SOUND, area=Area.PRIVATE, owner=owner_of(uri))
    path = f"/private/{blob.sha256}"
    assert await status(world, path) == 403
    assert await status(world, LINKS.sign(path, ANN, expires=int(time.time()))) == 403
    assert await status(world, LINKS.sign(f"/private/{'0' * 64}", ANN, expires=2**40)) == 404
    answer = await world.server.request("GET", LINKS.sign(path, ANN, expires=2**40))
    assert (answer.status, answer.body) == (200, SOUND)
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_player_elsewhere_may_ask_for_ranges(world: World) -> None:
    asked = {"Origin": "https://else.example", "Access-Control-Request-Method": "GET"}
    answer = await world.server.request(
        "OPTIONS", "/audio/x", headers=asked | {"Access-Control-Request-Headers": "range"}
    )
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Headers"] == "range"


async def test_a_link_opens_one_path_for_one_account_for_a_while() -> None:
    now = 1000.0
    links = Links(RING, lambda: now)
    signed = urlsplit(links.sign("/exports/1/download", ANN, expires=2000))
    query = dict(parse_qsl(signed.query))
    assert links.check(signed.path, query) == ANN
    for changed in (
        query | {"did": "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"},
        query | {"expires": "3000"},
        query | {"signature": "é"},
        query | {"signature": ""},
        {},
    ):
        with pytest.raises(BadLink):
            links.check(signed.path, changed)
    with pytest.raises(BadLink):
        links.check("/exports/2/download", query)
    with pytest.raises(BadLink):
        Links(KeyRing(GivenKeys([new_key()]))).check(signed.path, query)
    now = 2000.0
    with pytest.raises(Expired):
        links.check(signed.path, query)


async def test_a_link_survives_a_new_key() -> None:
    old, new = new_key(), new_key()
    signed = urlsplit(Links(KeyRing(GivenKeys([old]))).sign("/x", ANN, expires=2**40))
    assert Links(KeyRing(GivenKeys([new, old]))).check("/x", dict(parse_qsl(signed.query))) == ANN


async def withhold(world: World, did: str, sha256: str, reason: str | None = "sexual") -> None:
    """As `indexer/sanctions.py` does."""
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        standing = (await repos.lock(conn, [Did(did)]))[Did(did)]
        assert await accounts.withhold(conn, standing.repo.id, sha256, reason)
    await asyncio.sleep(SIGHT_S)


async def test_a_picture_that_is_taken_down_of_one_is_still_anothers_and_goes_with_its_renditions(
    world: World, store: FilesystemStore
) -> None:
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    ours, theirs = world.seed.track(ann, "one"), world.seed.track(bob, "the same")
    world.seed.commit()
    dids = world.seed.dids
    keep_image = partial(keep, world.dsn, store, area=Area.IMAGE, mime="image/png")
    blob = await keep_image(SOUND, owner=owner_of(ours))
    await keep_image(SOUND, owner=owner_of(theirs))
    small = await keep_image(OTHER, kind="image", owner=str(blob.id))
    world.seed.conn.execute(
        "insert into image_rendition (blob_id, width, height, rendition_id) values (%s, 160, 160, %s)",
        (blob.id, small.id),
    )
    world.seed.commit()
    paths = [f"/image/{blob.sha256}", f"/image/{blob.sha256}?w=160", f"/image/{small.sha256}"]

    async def statuses() -> list[int]:
        return [await status(world, path) for path in paths]

    assert await statuses() == [200, 200, 200]
    await withhold(world, dids[ann], blob.sha256)
    assert await statuses() == [200, 200, 200]  # bob's
    await withhold(world, dids[bob], blob.sha256)
    assert await statuses() == [410, 410, 410]
    await withhold(world, dids[ann], blob.sha256, None)
    assert await statuses() == [200, 200, 200]


async def test_a_cover_of_a_list_is_taken_down(world: World, store: FilesystemStore) -> None:
    ann = world.seed.account("ann")
    uri = world.seed.list_of(ann, "Mix", [], "playlist")
    world.seed.commit()
    blob = await keep(
        world.dsn, store, SOUND, area=Area.IMAGE, mime="image/png", kind="list", owner=owner_of(uri)
    )
    path = f"/image/{blob.sha256}"
    assert await status(world, path) == 200
    await withhold(world, world.seed.dids[ann], blob.sha256)
    assert await status(world, path) == 410
    await withhold(world, world.seed.dids[ann], blob.sha256, None)
    assert await status(world, path) == 200


@pytest.mark.parametrize("named", ["original", "played"])
async def test_a_sound_is_taken_down_with_what_was_made_of_it_and_what_it_was_made_of(
    world: World, store: FilesystemStore, named: str
) -> None:
    ann = world.seed.account("ann")
    uri = world.seed.track(ann, "one")
    did, rkey = owner_of(uri).split("/")
    original = await keep(world.dsn, store, b"original", area=Area.PRIVATE, owner=owner_of(uri))
    played = await keep(world.dsn, store, b"played", owner=owner_of(uri))
    made = await keep(world.dsn, store, b"made of it", kind="sound", owner=str(played.id))
    cover = await keep(world.dsn, store, b"cover", area=Area.IMAGE, mime="image/png", owner=owner_of(uri))
    world.seed.conn.execute(
        "insert into track_media (did, rkey, original_id, stream_id, cover_id) values (%s, %s, %s, %s, %s)",
        (did, rkey, original.id, played.id, cover.id),
    )
    world.seed.commit()
    private = LINKS.sign(f"/private/{original.sha256}", ANN, expires=2**40)
    paths = [f"/audio/{played.sha256}", f"/audio/{made.sha256}", private, f"/image/{cover.sha256}"]
    assert [await status(world, path) for path in paths] == [200, 200, 200, 200]
    await withhold(world, did, {"original": original, "played": played}[named].sha256)
    assert [await status(world, path) for path in paths] == [410, 410, 410, 200]
    told = await world.server.request("GET", f"/audio/{played.sha256}/url")
    assert told.status == 410
    await withhold(world, did, {"original": original, "played": played}[named].sha256, None)
    assert [await status(world, path) for path in paths] == [200, 200, 200, 200]
