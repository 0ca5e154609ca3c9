"""A person in front of a devnet PDS's authorization page, without a browser.

The page is an app of the PDS's own: it signs in, shows what is asked for, and hands the answer back through
endpoints beside it. This speaks to them as the app does, cookies, fetch metadata and all.

    async with Person(account) as person:
        params = await person.consent(url)      # or refuse(url): the callback's query
"""

from __future__ import annotations

from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from tests.devnet.network import Account

API = "/@atproto/oauth-provider/~api"
TIMEOUT_S = 20


class PageFailed(Exception):
    """The PDS did not do what its page would have asked for."""


class Person:
    """One browser profile. `scope` of `consent` leaves out what the person unticks."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._cookies: dict[str, str] = {}
        self._session: aiohttp.ClientSession
        self.page = ""  # the last page that was shown

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def consent(self, url: str, *, scope: str | None = None) -> dict[str, str]:
        """Open the page, sign in, allow it; what comes back with the person to the client."""
        await self._open(url)
        signed_in = await self._api(
            url,
            "/sign-in",
            {"locale": "en", "username": self.account.handle, "password": self.account.password},
        )
        wish = {"did": self.account.did} | ({"scope": scope} if scope is not None else {})
        answer = await self._api(url, "/consent", wish, bearer=signed_in["ephemeralToken"])
        return await self._back(url, answer["url"])

    async def refuse(self, url: str) -> dict[str, str]:
        """Open the page, and say no."""
        await self._open(url)
        return await self._back(url, (await self._api(url, "/reject", {}))["url"])

    async def _open(self, url: str) -> None:
        async with self._session.get(
            url, headers=self._headers("navigate", "document", "cross-site"), allow_redirects=False
        ) as answer:
            self._keep(answer)
            self.page = await answer.text()
            if answer.status != 200:
                raise PageFailed(f"{answer.status}: {self.page[:1000]}")

    async def _api(
        self, page: str, path: str, body: dict[str, Any], *, bearer: str | None = None
    ) -> dict[str, Any]:
        parts = urlsplit(page)
        headers = self._headers("same-origin", "empty", "same-origin") | {
            "Origin": f"{parts.scheme}://{parts.netloc}",
            "Referer": page,
            "X-CSRF-Token": self._cookies.get("csrf-token", ""),
        }
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        url = f"{parts.scheme}://{parts.netloc}{API}{path}"
        async with self._session.post(url, json=body, headers=headers) as answer:
            self._keep(answer)
            value = await answer.json()
            if answer.status != 200:
                raise PageFailed(f"{path}: {answer.status} {value}")
            return value

    async def _back(self, page: str, url: str) -> dict[str, str]:
        """The page's last step leads to the client's callback, which nobody opens here."""
        headers = self._headers("navigate", "document", "same-origin") | {"Referer": page}
        async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status != 303:
                raise PageFailed(f"{answer.status}: {(await answer.text())[:1000]}")
            return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))

    def _headers(self, mode: str, dest: str, site: str) -> dict[str, str]:
        return {
            "Sec-Fetch-Mode": mode,
            "Sec-Fetch-Dest": dest,
            "Sec-Fetch-Site": site,
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) plyr-test",
            "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
        }

    def _keep(self, answer: aiohttp.ClientResponse) -> None:
        for line in answer.headers.getall("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                self._cookies[name] = morsel.value
