"""People in a real browser, at real PDSs: they sign in, refuse, link accounts, allow more and leave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import aiohttp
import psycopg
import pytest
from playwright.async_api import Browser, Page, expect

from tests.acceptance import browser
from tests.acceptance.service import until
from tests.acceptance.world import World
from tests.devnet.person import Person

TRACK = "fm.plyr.track"
LEAVING = {
    "title": "Leaving",
    "artist": "Ada",
    "fileType": "mp3",
    "audioUrl": "https://audio.example/leaving.mp3",
    "createdAt": "2026-11-28T12:00:00Z",
}

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.chromium, pytest.mark.timeout(180)]


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser.opened() as opened:
        yield opened


async def sign_in(page: Page, origin: str, handle: str) -> None:
    await page.goto(f"{origin}/sign-in")
    await page.get_by_label("Your handle").fill(handle)
    await page.get_by_role("button", name="Continue").click()


async def me(origin: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{origin}/auth/me", headers=headers) as answer,
    ):
        return answer.status


async def test_a_person_signs_in_links_an_account_allows_more_makes_a_token_and_leaves(
    world: World, chromium: Browser
) -> None:
    ada, bob = await world.net.account("ada", pds=0), await world.net.account("bob", pds=1)
    origin, page = world.answers.origin, await browser.new_page(chromium)

    await sign_in(page, origin, ada.handle)
    await browser.answer_server(page, ada, allow=False)
    await expect(page.get_by_role("alert")).to_contain_text("You said no.")

    await sign_in(page, origin, ada.handle)
    await browser.answer_server(page, ada)
    await expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    await expect(page.locator(".who")).to_have_text(f"@{ada.handle}")
    assert page.url == f"{origin}/account"
    cookies = {cookie.get("name"): cookie for cookie in await page.context.cookies(origin)}
    assert cookies["session_id"].get("httpOnly")
    assert cookies["session_id"].get("sameSite") == "Lax"

    await page.get_by_label("Add an account").fill(bob.handle)
    await page.get_by_role("button", name="Add", exact=True).click()
    await browser.answer_server(page, bob)
    await expect(page.locator(".who")).to_have_text(f"@{bob.handle}")
    await page.get_by_role("button", name="Switch").click()
    await expect(page.locator(".who")).to_have_text(f"@{ada.handle}")

    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        # As a grant of a time when plyr asked for less.
        await conn.execute("update session set scope = 'atproto repo:fm.plyr.like'")
    await page.goto(f"{origin}/upload")
    await expect(page.get_by_role("alert")).to_contain_text("plyr may not do that yet.")
    await page.get_by_role("button", name="Allow what is missing").click()
    await browser.answer_server(page, ada)
    await expect(page.get_by_role("status")).to_have_text("Your server lets plyr do more now.")
    await expect(page.locator(".who")).to_have_text(f"@{ada.handle}")
    await expect(page.get_by_role("button", name="Allow what is missing")).to_have_count(0)

    await page.get_by_label("Make one").fill("for <b>tests</b>")
    await page.get_by_role("button", name="Make a token").click()
    await browser.answer_server(page, ada)
    await expect(page.get_by_role("heading", name="Your new token")).to_be_visible()
    token = await page.locator("#token").inner_text()
    assert await me(origin, token) == 200
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("was shown before")
    await page.goto(f"{origin}/account")
    await expect(page.get_by_role("listitem")).to_contain_text(f"for <b>tests</b>{token[:8]}…")
    assert token not in await page.content()

    await page.get_by_role("button", name="Sign out", exact=True).click()
    await expect(page.get_by_role("status")).to_have_text("You are signed out.")
    await page.goto(f"{origin}/account")
    assert page.url == f"{origin}/sign-in"
    assert await me(origin, token) == 200

    await sign_in(page, origin, ada.handle)
    await browser.answer_server(page, ada)
    await page.get_by_role("button", name="Revoke for <b>tests</b>").click()
    await expect(page.get_by_role("status")).to_contain_text("revoked")
    assert await me(origin, token) == 401


async def test_a_person_leaves_and_takes_everything_along(world: World, chromium: Browser) -> None:
    ada = await world.net.account("ada")
    await world.net.put(ada, TRACK, "3lbq2s3jzqs22", LEAVING)
    origin, page = world.answers.origin, await browser.new_page(chromium)

    async def shown() -> int:
        return len((await world.answers.good("fm.plyr.feed.getLatest"))["tracks"])

    async def there() -> bool:
        return await shown() == 1

    await until(there, 30, "the track to be shown")
    await sign_in(page, origin, ada.handle)
    await browser.answer_server(page, ada)
    await page.get_by_label("To confirm, type").fill("somebody.else")
    await page.get_by_role("button", name="Delete everything").click()
    await expect(page.get_by_role("alert")).to_contain_text(f"must match your handle: {ada.handle}")
    await page.get_by_label("Remove my plyr records").check()
    await page.get_by_label("To confirm, type").fill(f"@{ada.handle}")
    await page.get_by_role("button", name="Delete everything").click()
    await expect(page.get_by_role("heading", name="You are gone")).to_be_visible()
    assert await shown() == 0
    assert await world.net.list_records(ada, TRACK) == []
    await page.goto(f"{origin}/account")
    assert page.url == f"{origin}/sign-in"


async def test_nobody_finishes_what_began_elsewhere_and_no_link_begins_it(
    world: World, chromium: Browser
) -> None:
    eve, victim = await world.net.account("eve"), await browser.new_page(chromium)
    origin = world.answers.origin
    async with aiohttp.ClientSession() as session:
        start = await session.get(
            f"{origin}/auth/start", params={"handle": eve.handle}, allow_redirects=False
        )
    async with Person(eve) as person:
        params = await person.consent(start.headers["Location"])
    await victim.goto(f"{origin}/auth/callback?{urlencode(params)}")
    await expect(victim.get_by_role("alert")).to_contain_text("another browser")
    assert not [cookie for cookie in await victim.context.cookies() if cookie.get("name") == "session_id"]

    # Nor is it begun by a link on somebody's page: Eve's server might send people back without a word.
    lure = f"{origin}/auth/start?{urlencode({'handle': eve.handle})}"
    await victim.goto("about:blank")
    await victim.set_content(f'<a href="{lure}">A song</a>')
    await victim.get_by_role("link").click()
    await expect(victim.get_by_label("Your handle")).to_have_value(eve.handle)
    assert await victim.context.cookies() == []
    await victim.goto(f"{origin.replace('127.0.0.1', 'localhost')}/sign-in")
    assert victim.url == f"{origin}/sign-in"


async def test_what_cannot_be_signed_in_with_is_explained_and_kept_to_be_mended(
    world: World, chromium: Browser
) -> None:
    page = await browser.new_page(chromium)
    for typed, says in (
        ("nobody.p0.test", "There is no such account."),
        ("not a handle", "That is no handle."),
        ("http://169.254.169.254", "Your server is at an address that plyr does not visit."),
    ):
        await sign_in(page, world.answers.origin, typed)
        await expect(page.get_by_role("alert")).to_contain_text(says)
        await expect(page.get_by_label("Your handle")).to_have_value(typed)
