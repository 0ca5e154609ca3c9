"""A Chromium as a person sits before it, and what they do at the authorization server of a real PDS."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, async_playwright

from tests.conftest import require
from tests.devnet.network import Account

# It shall look nothing up and ask nobody but the servers of the test.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 20_000


def chromium() -> str:
    """The program; without one the test cannot be."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or require("a Chromium", "apt install chromium")


@asynccontextmanager
async def opened() -> AsyncIterator[Browser]:
    program = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


async def new_page(browser: Browser) -> Page:
    """A tab in a browser that nobody used before."""
    page = await (await browser.new_context()).new_page()
    page.set_default_timeout(PATIENCE_MS)
    return page


async def answer_server(page: Page, person: Account, *, allow: bool = True) -> None:
    """On the pages of the PDS: the password, if it asks for one, and yes or no."""
    allowing = page.get_by_role("button", name="Authorize")
    password = page.locator("input[type=password]")
    await password.or_(allowing).first.wait_for()
    if await password.count():
        await password.fill(person.password)
        await page.get_by_role("button", name="Sign in", exact=True).click()
    await allowing.wait_for()
    await (allowing if allow else page.get_by_role("button", name="Deny access")).click()
