"""What artists bring, in a real browser and by a program: good sound plays, the rest ends with a reason."""

from __future__ import annotations

import asyncio
import shutil
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.acceptance import browser as browsers
from tests.acceptance.test_devnet_browser import sign_in
from tests.acceptance.test_devnet_tracks import form
from tests.acceptance.town import Town
from tests.devnet.network import Account
from tests.integration.appview.auth.test_sessions_devnet import Browser as Client
from tests.music import aiff, ffmpeg, music

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.chromium, pytest.mark.timeout(420)]

TRACK = "fm.plyr.track"
LENGTH_S = 20
LONG_S = 90 * 60
GOOD = {
    "MP3": ("mp3", ["-c:a", "libmp3lame", "-b:a", "192k"]),
    "WAV": ("wav", ["-c:a", "pcm_s16le"]),
    "M4A": ("m4a", ["-c:a", "aac"]),
    "FLAC": ("flac", ["-c:a", "flac"]),
    "AIFF": ("aiff", ["-c:a", "pcm_s16be"]),
    "OGG": ("ogg", ["-c:a", "libvorbis"]),
    "WebM": ("webm", ["-c:a", "libopus"]),
}
BAD = {
    "a text": "no audio file",
    "cut off": "end",
    "a bomb": "longer",
}
_REACHES = "(a, s) => new Promise(ok => { a.ontimeupdate = () => a.currentTime > s && ok(); })"


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return asyncio.run(files(tmp_path_factory.mktemp("brought")))


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browsers.opened() as opened:
        yield opened


async def files(folder: Path) -> dict[str, Path]:
    """One of each, by name."""
    source = aiff(folder / "source.aiff", music(LENGTH_S))
    out: dict[str, Path] = {}
    for name, (suffix, options) in GOOD.items():
        out[name] = folder / f"{name}.{suffix}"
        await ffmpeg("-i", source, *options, out[name])
    out["long"] = folder / "long.wav"
    await ffmpeg("-i", source, "-ac", "1", "-ar", "8000", folder / "once.wav")
    with wave.open(str(folder / "once.wav")) as once, wave.open(str(out["long"]), "wb") as long:
        long.setparams(once.getparams())
        samples = once.readframes(once.getnframes())
        for _ in range(LONG_S // LENGTH_S):
            long.writeframesraw(samples)
    out["a text"] = folder / "text.mp3"
    out["a text"].write_text("Not a sound at all.\n" * 500)
    out["cut off"] = folder / "cut.wav"
    shutil.copyfile(out["WAV"], out["cut off"])
    with out["cut off"].open("r+b") as file:
        file.truncate(out["WAV"].stat().st_size // 2)
    out["a bomb"] = folder / "bomb.flac"
    silence = "anullsrc=r=8000:cl=mono:n=32768"
    await ffmpeg("-f", "lavfi", "-i", silence, "-t", str(7 * 3600), "-c:a", "flac", out["a bomb"])
    assert out["a bomb"].stat().st_size < 5_000_000  # of 400 MB
    return out


async def upload(page: Page, origin: str, title: str, path: Path) -> None:
    """Fill the form in, and wait until the track is one, or is not."""
    await page.goto(f"{origin}/upload")
    await page.get_by_label("Title").fill(title)
    await page.get_by_label("Sound").set_input_files(path)
    await page.get_by_role("button", name="Upload").click()
    await page.wait_for_url(f"{origin}/upload/*")
    over = page.get_by_text("It is published.").or_(page.get_by_text("It could not be published."))
    await over.wait_for(timeout=120_000)


async def plays(page: Page, length_s: float) -> None:
    """What the page of a track has plays in this browser, and from its middle on as well."""
    player = page.locator("audio")
    told_s = await player.evaluate(
        "a => new Promise(ok => "
        "{ a.ondurationchange = () => ok(a.duration); if (a.readyState) ok(a.duration); })"
    )
    assert abs(told_s - length_s) < 0.1
    await player.evaluate("a => { a.muted = true; return a.play(); }")
    await player.evaluate(_REACHES, 0.2)
    middle_s = length_s / 2
    await player.evaluate(
        "(a, s) => new Promise(ok => { a.onseeked = () => ok(a.currentTime); a.currentTime = s; })", middle_s
    )
    await player.evaluate(_REACHES, middle_s + 0.2)


async def agree(town: Town, account: Account, titles: list[str]) -> None:
    """The PDS, the index and what is shown have the same tracks, and all are proven."""
    await town.proven()
    listed = {record.uri: record for record in await town.net.list_records(account, TRACK)}
    assert sorted(record.value["title"] for record in listed.values()) == sorted(titles)
    shown = await town.answers.all("fm.plyr.feed.getActorTracks", "tracks", actor=account.did)
    assert {view["uri"]: view["cid"] for view in shown} == {uri: each.cid for uri, each in listed.items()}


async def test_an_artist_uploads_in_a_browser(
    town: Town, chromium: Browser, brought: dict[str, Path]
) -> None:
    ada = await town.net.account("ada")
    origin, page = town.answers.origin, await browsers.new_page(chromium)
    await page.goto(f"{origin}/upload")
    assert page.url == f"{origin}/sign-in"
    await sign_in(page, origin, ada.handle)
    await browsers.answer_server(page, ada)
    await page.get_by_role("link", name="Upload a track").click()
    for name in [*GOOD, "long"]:
        await upload(page, origin, name, brought[name])
        await expect(page.get_by_text("It is published.")).to_be_visible()
        await page.get_by_role("link", name="Listen to it").click()
        await plays(page, LONG_S if name == "long" else LENGTH_S)
    for name, words in BAD.items():
        await upload(page, origin, name, brought[name])
        await expect(page.get_by_text("It could not be published.")).to_be_visible()
        await expect(page.locator("main")).to_contain_text(words)
    await agree(town, ada, [*GOOD, "long"])


async def test_a_program_uploads(town: Town, brought: dict[str, Path]) -> None:
    bob = await town.net.account("bob")
    async with Client(town.answers.origin) as client:
        assert (await client.sign_in(bob)).status == 303
        ends: dict[str, str | None] = {}
        for name, path in brought.items():
            sound = await asyncio.to_thread(path.read_bytes)
            sent = await client.ask("POST", "/tracks/", data=form(title=name, file=sound))
            assert sent.status == 200, sent.body
            ends[name] = await town.ended(sent.json["upload_id"])
    assert {name: ends[name] for name in [*GOOD, "long"]} == dict.fromkeys([*GOOD, "long"], "done")
    for name, words in BAD.items():
        assert words in (ends[name] or "")
    await agree(town, bob, [*GOOD, "long"])
