"""The application with signing in, at one or more ports on one database, and people who use it.

`Village` stands for the network: an OAuth client whose authorization server is itself. What the real one
does is tested elsewhere; here it is what becomes of a grant.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import orjson
from aiohttp import web

from appview.app import build_app, make_reader
from appview.auth.assembly import Auth, assembled
from appview.auth.desk import SignIn
from appview.auth.grant import Credentials, Flow, Granted, Refusal, SignInFailed
from appview.auth.keyring import KeyFile, KeyRing
from appview.auth.metadata import App, loopback_app
from appview.auth.oauth import PdsAnswer
from appview.guards import GuardConfig
from appview.protocol import make_runner
from appview.service import AppConfig
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage.postgres import make_pool
from tests.integration.appview.seed import did_of
from tests.integration.appview.service import Answer

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Chrome/140"
SCOPE = "atproto repo:fm.plyr.track repo:fm.plyr.like"


@dataclass
class Village:
    """Everybody here has a handle `name.test`; who signs in is what the `code` says."""

    dids: dict[str, Did] = field(
        default_factory=lambda: {n: did_of(i) for i, n in enumerate(["ann", "bob", "eve"], 9)}
    )
    granted_scope: str = SCOPE
    grants: dict[str, Did] = field(default_factory=dict)  # by refresh token
    revoked: list[Did] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    prompts: list[str | None] = field(default_factory=list)
    down: bool = False
    app: App | None = field(default_factory=lambda: loopback_app(8000, SCOPE, name="test"))
    _number: Any = field(default_factory=itertools.count)

    async def begin(self, identifier: str, scope: str, *, prompt: str | None = None) -> tuple[str, Flow]:
        if self.down:
            raise SignInFailed(Refusal.UNREACHABLE, "no answer in time")
        did = self.dids.get(identifier.removesuffix(".test")) or next(
            (did for did in self.dids.values() if did == identifier), None
        )
        if did is None and not identifier.startswith("https://"):
            raise SignInFailed(Refusal.UNKNOWN_ACCOUNT, "nobody of that name")
        self.prompts.append(prompt)
        state, verifier, key = (secrets.token_urlsafe(32) for _ in range(3))
        self.secrets += [state, verifier, key]
        flow = Flow(
            state=state, verifier=verifier, dpop_key=key, issuer="https://as.test", scope=scope, did=did
        )
        return f"https://as.test/authorize?state={state}", flow

    async def finish(self, flow: Flow, params: Mapping[str, str]) -> Granted:
        if "error" in params:
            denied = params["error"] == "access_denied"
            raise SignInFailed(Refusal.DENIED if denied else Refusal.SERVER_REFUSED, "as it said")
        name = params["code"]
        did = self.dids[name]
        if flow.did not in (None, did):
            raise SignInFailed(Refusal.WRONG_ACCOUNT, "the token is another account's")
        access, refresh = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.secrets += [access, refresh]
        self.grants[refresh] = did
        return Granted(
            did,
            f"{name}.test",
            Credentials(
                did=did,
                access_token=access,
                refresh_token=refresh,
                dpop_key=flow.dpop_key,
                issuer=flow.issuer,
                pds="https://pds.test",
                scope=self.granted_scope,
            ),
        )

    async def refresh(self, credentials: Credentials) -> Credentials:
        raise SignInFailed(Refusal.GRANT_GONE)

    async def revoke(self, credentials: Credentials) -> None:
        assert credentials.refresh_token is not None
        self.revoked.append(self.grants.pop(credentials.refresh_token))

    async def call_pds(
        self, credentials: Credentials, method: str, nsid: str, **_: object
    ) -> tuple[PdsAnswer, Credentials]:
        return PdsAnswer(401, {}, b"", credentials.refresh_token not in self.grants), credentials


def credentials_at(url: str, did: Did) -> Credentials:
    """A grant of somebody whose PDS and authorization server are there."""
    return Credentials(
        did=did,
        access_token="access",
        refresh_token=f"refresh-{did}",
        dpop_key="{}",
        issuer=url,
        pds=url,
        scope="atproto",
    )


async def asked_at(http: aiohttp.ClientSession, method: str, url: str, **options: Any) -> PdsAnswer:
    """What a server says that wants no proof of anything."""
    try:
        async with http.request(method, url, **options) as answer:
            return PdsAnswer(answer.status, answer.headers, await answer.read(), False)
    except aiohttp.ClientError:
        raise SignInFailed(Refusal.UNREACHABLE) from None


class Person:
    """Somebody with a browser, or a program; cookies are theirs."""

    def __init__(self, server: str, agent: str) -> None:
        self._server = server
        self.http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"User-Agent": agent}
        )

    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.http.cookie_jar}

    async def ask(self, method: str, path: str, *, server: str | None = None, **options: Any) -> Answer:
        url = (server or self._server) + path
        async with self.http.request(method, url, allow_redirects=False, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def go(self, auth_url: str, **params: str) -> Answer:
        """Come back from the authorization server with these parameters."""
        state = parse_qs(urlsplit(auth_url).query)["state"][0]
        return await self.ask(
            "GET", "/auth/callback", params={"state": state, "iss": "https://as.test"} | params
        )

    async def sign_in(self, name: str) -> str | None:
        """As a frontend does it; the key, if the answer shows it."""
        started = await self.ask("GET", "/auth/start", params={"handle": f"{name}.test"})
        assert started.status == 307, started.body
        back = await self.go(started.headers["Location"], code=name)
        assert back.status == 303, back.body
        return await self.fetch(back)

    async def sign_in_here(self, name: str) -> None:
        """Where there is no frontend: the callback gives the cookie."""
        started = await self.ask("GET", "/auth/start", params={"handle": f"{name}.test"})
        back = await self.go(started.headers["Location"], code=name)
        assert (back.status, back.headers["Location"]) == (303, "/account")

    async def wish(self, path: str, **body: Any) -> str:
        """The address at which a wish goes on."""
        answer = await self.ask("POST", path, json=body)
        assert answer.status == 200, answer.body
        return answer.json["auth_url"]

    async def fetch(self, back: Answer) -> str | None:
        answer = await self.ask("POST", "/auth/exchange", json={"exchange_token": exchange_token(back)})
        assert answer.status == 200, answer.body
        return answer.json["session_id"]

    async def me(self, **options: Any) -> Any:
        answer = await self.ask("GET", "/auth/me", **options)
        assert answer.status == 200, answer.body
        return answer.json


def exchange_token(back: Answer) -> str:
    return parse_qs(urlsplit(back.headers["Location"]).query)["exchange_token"][0]


def bearer(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@dataclass
class House:
    """Two servers on one database."""

    urls: list[str]
    auths: list[Auth]
    village: Village
    dsn: str
    keys: Path
    stack: AsyncExitStack

    async def person(self, agent: str = BROWSER, *, server: int = 0) -> Person:
        person = Person(self.urls[server], agent)
        self.stack.push_async_callback(person.http.close)
        return person


@asynccontextmanager
async def housed(
    dsn: str,
    keys: Path,
    catalog: Catalog,
    *,
    frontend_url: str | None,
    admin_token: str | None = None,
    origin: str = "http://127.0.0.1",
) -> AsyncIterator[House]:
    village = Village()
    guards = GuardConfig(origins=frozenset([frontend_url] if frontend_url else []), admin_token=admin_token)
    async with AsyncExitStack() as stack:
        house = House([], [], village, dsn, keys, stack)
        for _ in range(2):
            pool = await stack.enter_async_context(make_pool(dsn, max_size=3, name="test"))
            reads = await stack.enter_async_context(make_reader(dsn, connections=1))
            config = SignIn(
                SCOPE,
                catalog.definitions,
                frontend_url,
                origin=origin,
                collections=catalog.collections.own,
            )
            auth = await stack.enter_async_context(
                assembled(pool, reads, KeyRing(KeyFile(keys)), village, config)
            )
            runner = make_runner(
                build_app(reads, catalog, AppConfig(version="1.2.3", guards=guards), auth=auth)
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            house.urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
            house.auths.append(auth)
        yield house


def detail(answer: Answer) -> tuple[int, Any]:
    assert set(orjson.loads(answer.body)) == {"detail"}
    return answer.status, answer.json["detail"]
