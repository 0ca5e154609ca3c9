"""The page of one track: it plays in a browser without a script, and asks nobody but us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from appview.auth.keyring import GivenKeys, KeyRing, new_key
from appview.media.container import OPUS
from appview.media.serve import ALONE
from appview.media.signed import Links
from appview.rest.media import Media
from appview.sound_origins import ANYWHERE, SoundOrigins
from lexicons.catalog import Catalog
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.rows import Blob
from storage.blobs.store import Area
from storage.reader import Reads
from tests.acceptance.browser import new_page, opened
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import World, served
from tests.integration.appview.sounds import keep, owner_of
from tests.integration.appview.test_home import Links as Found
from tests.music import aiff, ffmpeg, music

LENGTH_S = 40
_REACHES = "(a, s) => new Promise(ok => { a.ontimeupdate = () => a.currentTime > s && ok(); })"


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "blobs")


@pytest.fixture
async def world(database: str, catalog: Catalog, store: FilesystemStore) -> AsyncIterator[World]:
    seed = Seed(database, catalog)

    def parts(reads: Reads) -> dict[str, object]:
        return {
            "media": Media(
                reads, store, Links(KeyRing(GivenKeys([new_key()]))), ALONE, SoundOrigins([ANYWHERE])
            )
        }

    try:
        async with served(database, catalog, parts=parts) as server:
            yield World(server, seed, database)
    finally:
        seed.close()


def has(world: World, uri: str, sound: Blob | None, cover: Blob | None = None) -> None:
    """Say what a track is played and shown with."""
    did, rkey = owner_of(uri).split("/")
    world.seed.conn.execute(
        "insert into track_media (did, rkey, stream_id, cover_id) values (%s, %s, %s, %s)",
        (did, rkey, sound.id if sound else None, cover.id if cover else None),
    )
    world.seed.commit()


@pytest.mark.parametrize("with_opus", [False, True])
async def test_a_browser_plays_a_track_and_seeks_in_it(
    world: World, store: FilesystemStore, tmp_path: Path, with_opus: bool
) -> None:
    uri = world.seed.track(world.seed.account("ann"), "Night ferry", duration=LENGTH_S)
    number = world.seed.stat(uri)
    world.seed.commit()
    source = aiff(tmp_path / "a.aiff", music(LENGTH_S))
    await ffmpeg("-i", source, "-c:a", "libmp3lame", "-b:a", "320k", tmp_path / "a.mp3")
    await ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64", "-frames:v", "1", tmp_path / "a.png")
    sound = await keep(world.dsn, store, (tmp_path / "a.mp3").read_bytes(), owner=owner_of(uri))
    picture = (tmp_path / "a.png").read_bytes()
    cover = await keep(world.dsn, store, picture, area=Area.IMAGE, mime="image/png", owner=owner_of(uri))
    has(world, uri, sound, cover)
    if with_opus:
        await ffmpeg("-i", source, "-c:a", "libopus", tmp_path / "a.opus")
        data = (tmp_path / "a.opus").read_bytes()
        made = await keep(world.dsn, store, data, mime=OPUS.mime, kind="sound", owner=str(sound.id))
        world.seed.conn.execute("insert into sound_rendition values (%s, %s, 'opus')", (sound.id, made.id))
        world.seed.commit()
    async with opened() as browser:
        page = await new_page(browser)
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text))
        partial: list[int] = []
        page.on("response", lambda answer: partial.append(answer.status) if "/audio/" in answer.url else None)
        await page.goto(f"{world.server.url}/track/{number}")
        assert await page.title() == "Night ferry – Ann"
        assert await page.locator("img").evaluate("img => img.decode().then(() => img.naturalWidth)") == 64
        player = page.locator("audio")
        sources = await page.locator("source").evaluate_all(
            "all => all.map(each => [each.type, each.type && document.createElement('audio')"
            ".canPlayType(each.type) !== ''])"
        )
        assert sources == ([["audio/mpeg", True], [OPUS.mime, True]] if with_opus else [])
        assert (await player.evaluate("a => a.currentSrc")).endswith(sound.sha256)
        length_s = await player.evaluate(
            "a => new Promise(ok => "
            "{ a.ondurationchange = () => ok(a.duration); if (a.readyState) ok(a.duration); })"
        )
        assert abs(length_s - LENGTH_S) < 0.1
        await player.evaluate("a => { a.muted = true; return a.play(); }")
        await player.evaluate(_REACHES, 0.3)
        at = await player.evaluate(
            "a => new Promise(ok => { a.onseeked = () => ok(a.currentTime); a.currentTime = 30; })"
        )
        assert abs(at - 30) < 0.5
        await player.evaluate(_REACHES, 30.3)
        assert refused == []
        assert set(partial) == {206}


@asynccontextmanager
async def elsewhere() -> AsyncIterator[str]:
    """A page of another origin."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><p>hello", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_a_page_of_somebody_else_may_look_into_the_sound(world: World, store: FilesystemStore) -> None:
    uri = world.seed.track(world.seed.account("ann"), "one")
    world.seed.commit()
    sound = await keep(world.dsn, store, np.arange(10_000, dtype=np.uint8).tobytes(), owner=owner_of(uri))
    async with opened() as browser, elsewhere() as address:
        page = await new_page(browser)
        await page.goto(address)
        length = await page.evaluate(
            "url => fetch(url, {headers: {Range: 'bytes=1-1000', 'X-Else': '1'}}).then(a => a.arrayBuffer())"
            ".then(b => b.byteLength)",
            f"{world.server.url}/audio/{sound.sha256}",
        )
    assert length == 1000


async def test_a_page_of_somebody_else_plays_a_track_in_its_frame(
    world: World, store: FilesystemStore, tmp_path: Path
) -> None:
    """By what oEmbed says; the page of the track itself stands in nobody's frame."""
    uri = world.seed.track(world.seed.account("ann"), "Night ferry")
    number = world.seed.stat(uri)
    world.seed.commit()
    await ffmpeg("-i", aiff(tmp_path / "a.aiff", music(2)), "-c:a", "libmp3lame", tmp_path / "a.mp3")
    has(world, uri, await keep(world.dsn, store, (tmp_path / "a.mp3").read_bytes(), owner=owner_of(uri)))
    address = f"{world.server.url}/track/{number}"
    told = await world.server.request("GET", "/oembed", params={"url": address})
    assert told.status == 200, told.body
    async with opened() as browser, elsewhere() as page_of_theirs:
        page = await new_page(browser)
        await page.goto(page_of_theirs)
        show = "html => { document.body.innerHTML = html; }"
        await page.evaluate(show, told.json["html"])
        frame = page.frame_locator("iframe")
        length_s = await frame.locator("audio").evaluate(
            "a => new Promise(ok => "
            "{ a.ondurationchange = () => ok(a.duration); if (a.readyState) ok(a.duration); })"
        )
        assert abs(length_s - 2) < 0.2
        assert await frame.locator("a.title").get_attribute("href") == f"/track/{number}"
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text))
        async with page.expect_event("console"):
            await page.evaluate(show, f'<iframe src="{address}"></iframe>')
        assert "frame" in refused[0]


async def test_what_strangers_wrote_is_text(world: World) -> None:
    evil = "</style><script>alert(1)</script>"
    ann = world.seed.account("ann", display_name=evil)
    for url in ("javascript:alert(1)", "https://x/\"onload='", "https://pds.example/a"):
        number = world.seed.stat(world.seed.track(ann, evil, audioUrl=url, description=evil))
        world.seed.commit()
        page = await world.server.request("GET", f"/track/{number}")
        found = Found(page.body.decode())
        assert page.status == 200
        assert "script" not in found.tags
        assert "audio" not in found.tags
        assert not any(address.startswith("javascript:") for address in found.addresses)
        assert ("https://pds.example/a" in found.addresses) == (url == "https://pds.example/a")


async def test_what_is_gone_has_no_page(world: World, store: FilesystemStore) -> None:
    number = world.seed.stat(world.seed.track(world.seed.account("ann"), "one"))
    world.seed.commit()
    assert (await world.server.request("GET", f"/track/{number}")).status == 200
    for path in (f"/track/{number + 1}", "/track/x", f"/track/{'9' * 30}"):
        assert (await world.server.request("GET", path)).status == 404
    world.seed.conn.execute("update profile set hidden = true")
    world.seed.commit()
    assert (await world.server.request("GET", f"/track/{number}")).status == 404
