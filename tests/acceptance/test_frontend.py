"""A web frontend of another origin in a real browser, with plyr behind it: what its pages do, and what pages
of an origin that nobody allowed cannot do."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Page, Request, Response, expect

from tests.acceptance import browser, town
from tests.acceptance.service import until
from tests.acceptance.town import Town
from tests.devnet.network import Account
from tests.music import aiff, music
from tests.ports import free_ports

FILES = Path(__file__).parent / "frontend"
SLOWLY = {
    "offline": False,
    "latency": 0,
    "downloadThroughput": -1,
    "uploadThroughput": 1_500_000,
}  # bytes a second

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.chromium, pytest.mark.timeout(300)]


# A source that nobody closes, on what has ended: what it gets until the browser gives up.
STUBBORN = """path => new Promise(resolve => {
  const source = new EventSource(api + path), came = { messages: 0, breaks: 0 };
  source.onmessage = () => came.messages++;
  source.onerror = () => {
    came.breaks++;
    if (source.readyState === EventSource.CLOSED) resolve(came);
  };
})"""


@dataclass
class Front:
    """plyr behind a frontend. `api`: plyr; `origin`: the frontend's; `foreign`: the same pages, at an origin
    that was not allowed."""

    town: Town
    api: str
    origin: str
    foreign: str


@asynccontextmanager
async def pages(api: str, port: int) -> AsyncIterator[None]:
    """Our page, whatever its path."""
    page = (FILES / "index.html").read_text().replace("{{api}}", api)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/frontend.js":
            return web.FileResponse(FILES / "frontend.js")
        return web.Response(text=page, content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()


@pytest.fixture
async def front(database: str, tmp_path: Path) -> AsyncIterator[Front]:
    ports = free_ports(3)
    api, origin, foreign = (f"http://localhost:{port}" for port in ports)
    settings = {"PLYR_PORT": str(ports[0]), "PLYR_PUBLIC_URL": api, "PLYR_FRONTEND_URL": origin}
    async with AsyncExitStack() as stack:
        for port in ports[1:]:
            await stack.enter_async_context(pages(api, port))
        yield Front(
            await stack.enter_async_context(town.opened(database, tmp_path, **settings)), api, origin, foreign
        )


async def seen(page: Page, what: str) -> list[Any]:
    """What the page has noted."""
    return await page.evaluate(f"seen.{what}")


async def test_a_frontend_on_another_origin_does_all_that_it_does(front: Front, tmp_path: Path) -> None:
    ann = await front.town.net.account("ann")
    sound = aiff(tmp_path / "ferry.aiff", music(12))
    async with browser.opened() as chromium:
        page = await browser.new_page(chromium)
        await _sign_in(front, page, ann)
        progress = await _upload(front, page, sound)
        await _like_and_set(page)
        other = await page.context.new_page()
        other.set_default_timeout(browser.PATIENCE_MS)
        await _write_in_two_tabs(front, page, other)
        await _export(page, tmp_path / "tracks.zip")
        with zipfile.ZipFile(tmp_path / "tracks.zip") as file:
            assert file.read("Ferry.aiff") == sound.read_bytes()
        await _try_from_elsewhere(front, await page.context.new_page(), progress)
        await page.reload()
        await expect(page.locator("#tracks li")).to_contain_text("1 likes, one of them mine")
        await expect(page.locator("#queue li")).to_have_count(2)
        await expect(page.get_by_label("Accent")).to_have_value("#c0392b")
        await page.screenshot(path=tmp_path / "frontend.png", full_page=True)
        await _sign_out(page, other)


async def _sign_in(front: Front, page: Page, person: Account) -> None:
    """Away to plyr and the PDS, and back with a token in the address, which is a cookie then."""
    await page.goto(front.origin)
    await page.get_by_label("Handle").fill(person.handle)
    await page.get_by_role("button", name="Sign in").click()
    await browser.answer_server(page, person)
    await expect(page.locator("#who")).to_have_text(person.handle, timeout=browser.PATIENCE_MS)
    assert page.url == f"{front.origin}/profile/setup"
    [cookie] = [each for each in await page.context.cookies(front.api) if each.get("name") == "session_id"]
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Lax")


async def _upload(front: Front, page: Page, sound: Path) -> str:
    """As slowly as from somebody's home, and followed without cookies; the path of its events."""
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    network = await page.context.new_cdp_session(page)
    await network.send("Network.enable")
    await network.send("Network.emulateNetworkConditions", SLOWLY)
    await page.get_by_label("Title").fill("Ferry")
    await page.get_by_label("Sound").set_input_files(sound)
    await page.get_by_role("button", name="Upload", exact=True).click()
    await expect(page.locator("#tracks li")).to_contain_text("Ferry by", timeout=60_000)
    sent = await seen(page, "sent")
    assert len(sent) >= 2
    assert sent == sorted(sent)
    assert sent[-1][0] == sent[-1][1] > sound.stat().st_size
    told = await seen(page, "told")
    assert told[0]["status"] in ("pending", "processing")
    assert (told[-1]["status"], told[-1]["error"]) == ("completed", None)
    assert told[-1]["track_id"] == await front.town.fact("select id from track")
    path = f"/tracks/uploads/{told[-1]['upload_id']}/progress"
    cookies = {each.url: "cookie" in await each.all_headers() for each in asked}
    assert not cookies[front.api + path]
    assert cookies[f"{front.api}/tracks/liked"]

    # It comes again once, says what it saw last, and is told not to come any more.
    assert await page.evaluate(STUBBORN, path) == {"messages": 1, "breaks": 2}
    first, again = [await each.all_headers() for each in asked if each.url == front.api + path][-2:]
    assert "last-event-id" not in first
    assert "last-event-id" in again
    return path


async def _like_and_set(page: Page) -> None:
    await page.get_by_role("button", name="Like").click()
    await expect(page.locator("#tracks li")).to_contain_text("1 likes, one of them mine")
    await expect(page.locator("#liked li")).to_have_text("Ferry")
    await page.get_by_label("Accent").fill("#c0392b")
    await page.get_by_label("Accent").dispatch_event("change")
    await expect(page.locator(":root")).to_have_attribute("style", "--accent: #c0392b;")


async def _write_in_two_tabs(front: Front, page: Page, other: Page) -> None:
    """One writes while the other is about to, which is refused once and loses nothing."""
    await other.goto(front.origin)
    await expect(other.get_by_label("Accent")).to_have_value("#c0392b")
    for tab in (page, other):
        await tab.get_by_role("button", name="Add to queue").click()
    await other.get_by_role("button", name="Save the queue").click()
    await expect(other.locator("#queue li")).to_have_count(1)

    async def heard() -> bool:
        return await seen(page, "heard") == [{"type": "queue-updated", "revision": 1}]

    await until(heard, 20, "the first tab to hear of the second")
    await expect(page.locator("#queue-status")).to_have_text("not saved")
    await page.get_by_role("button", name="Save the queue").click()
    await expect(page.locator("#queue li")).to_have_count(2)
    written = [each for each in await seen(page, "statuses") if each.startswith("PUT")]
    assert written == ["PUT /queue/ 409", "PUT /queue/ 200"]
    await expect(other.locator("#queue li")).to_have_count(2)  # it has heard, too
    assert await seen(other, "heard") == [{"type": "queue-updated", "revision": 2}]


async def _export(page: Page, path: Path) -> None:
    """Without cookies a page sees how it goes; the file comes by the owner's."""
    await page.get_by_role("button", name="Export").click()
    link = page.get_by_role("link", name="Download")
    await expect(link).to_be_visible(timeout=60_000)
    exported = await seen(page, "exported")
    assert exported[-1]["status"] == "completed"
    assert not any("download_url" in each for each in exported)
    async with page.expect_download() as coming:
        await link.click()
    await (await coming.value).save_as(path)


async def _try_from_elsewhere(front: Front, page: Page, progress: str) -> None:
    """A page of the same browser at an origin that nobody allowed: its cookies come along, being those of the
    same site, and yet it reads nothing and changes nothing."""
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    await page.goto(front.foreign)
    id = await front.town.fact("select id from track")
    came = await page.evaluate((FILES / "foreign.js").read_text(), [id, progress])
    blindly = {name: result for name, result in came.items() if name.endswith("blindly")}
    assert blindly == {"sign out blindly": "opaque", "upload blindly": "opaque"}
    assert {result for name, result in came.items() if name not in blindly} == {"TypeError"}
    posts = [answer.status for answer in answers if answer.request.method == "POST"]
    assert len(posts) >= len(blindly)
    assert set(posts) == {403}
    assert await front.town.fact("select count(*) from comment") == 0
    assert await front.town.fact("select count(*) from job where kind = 'upload'") == 1


async def _sign_out(page: Page, other: Page) -> None:
    """In one tab, and so in all."""
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    await other.get_by_role("button", name="Save the queue").click()
    await expect(other.get_by_role("button", name="Sign in")).to_be_visible()
    assert (await seen(other, "statuses"))[-1] == "PUT /queue/ 401"
