"""Signing in from end to end: `plyr web` as it runs, and real PDSs, whose pages are used in plain HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgspec
import orjson
import psycopg
import pytest
import pytest_asyncio

from appview.auth import scopes
from appview.auth.credentials import CredentialStore
from appview.auth.keyring import KeyFile, KeyRing
from appview.auth.metadata import loopback_app
from appview.auth.oauth import OAuthClient
from appview.pds import Pds
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from storage.postgres import make_pool
from tests.acceptance.service import Program, until
from tests.devnet.network import Account, Devnet
from tests.devnet.person import Person
from tests.integration.appview.auth.leaks import dump, found
from tests.integration.appview.service import Answer
from tests.ports import free_port

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

CATALOG = Catalog.load()
WISH = scopes.full("fm.plyr")
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(devnet_packages: Path) -> AsyncIterator[Devnet]:
    async with Devnet(pds=2) as net:
        yield net


@dataclass
class Site:
    """Two `plyr web` on one database; people come to the first."""

    urls: list[str]
    dsn: str
    folder: Path
    programs: list[Program]

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.dsn) as conn:
            return await (await conn.execute(statement.encode())).fetchall()


@pytest_asyncio.fixture(loop_scope="module")
async def site(net: Devnet, database: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        site = Site([], database, tmp_path, [])
        http = await stack.enter_async_context(aiohttp.ClientSession())
        for number in range(2):
            port = free_port()
            environ = {
                "PLYR_DATABASE_URL": database,
                "PLYR_DATA_DIR": str(tmp_path),
                "PLYR_PORT": str(port),
                "PLYR_DEV_LOOPBACK": "true",
                "PLYR_PLC_URL": net.plc_url,
                "PLYR_HANDLE_RESOLVER": net.control_url,
            }
            program = Program("web --log-level debug", environ, tmp_path / f"web{number}.log")
            site.programs.append(await stack.enter_async_context(program))
            site.urls.append(f"http://127.0.0.1:{port}")
            await until(lambda: answers(http, site.urls[-1]), 30, "the web process to be healthy")
        yield site


async def answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/xrpc/_health") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


class Browser:
    """A browser with its cookies, in plain HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Browser:
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers=BROWSER)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    def cookies(self) -> list[str]:
        return [cookie.value for cookie in self._http.cookie_jar]

    async def ask(self, method: str, path: str, *, url: str | None = None, **options: Any) -> Answer:
        async with self._http.request(
            method, (url or self._url) + path, allow_redirects=False, **options
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def allow(self, auth_url: str, account: Account) -> Answer:
        """Sign in at the PDS, consent, come back."""
        async with Person(account) as person:
            params = await person.consent(auth_url)
        return await self.ask("GET", "/auth/callback", params=params)

    async def sign_in(self, account: Account) -> Answer:
        started = await self.ask("GET", "/auth/start", params={"handle": account.handle})
        assert started.status == 307, started.body
        return await self.allow(started.headers["Location"], account)


async def test_a_person_signs_in_links_makes_a_token_and_leaves(net: Devnet, site: Site) -> None:
    ann, bob = await net.accounts(["ann", "bob"])
    async with Browser(site.urls[0]) as browser:
        back = await browser.sign_in(ann)
        assert (back.status, back.headers["Location"]) == (303, "/account")
        me = await browser.ask("GET", "/auth/me", url=site.urls[1])
        assert (me.json["did"], me.json["handle"]) == (ann.did, ann.handle)

        wish = await browser.ask("POST", "/auth/add-account/start", json={"handle": bob.handle})
        back = await browser.allow(wish.json["auth_url"], bob)
        assert back.headers["Location"] == "/account?account_added=true"
        me = (await browser.ask("GET", "/auth/me")).json
        assert [each["handle"] for each in me["linked_accounts"]] == [ann.handle, bob.handle]
        assert me["did"] == bob.did
        await browser.ask("POST", "/auth/switch-account", json={"target_did": ann.did})

        wish = await browser.ask("POST", "/auth/developer-token/start", json={"name": "ci"})
        back = await browser.allow(wish.json["auth_url"], ann)
        query = parse_qs(urlsplit(back.headers["Location"]).query)
        assert query["dev_token"] == ["true"]
        body = {"exchange_token": query["exchange_token"][0]}
        fetched = await browser.ask("POST", "/auth/exchange", json=body)
        assert "Set-Cookie" not in fetched.headers
        token = {"Authorization": f"Bearer {fetched.json['session_id']}"}

        await browser.ask("POST", "/auth/logout-all")
        assert (await browser.ask("GET", "/auth/me", url=site.urls[1])).status == 401
        async with aiohttp.ClientSession(headers=token) as program:
            async with program.get(f"{site.urls[1]}/auth/me") as answer:
                assert (await answer.json())["did"] == ann.did
            prefix = fetched.json["session_id"][:8]
            async with program.delete(f"{site.urls[1]}/auth/developer-tokens/{prefix}") as answer:
                assert answer.status == 200
            async with program.get(f"{site.urls[0]}/auth/me") as answer:
                assert answer.status == 401
    # All three grants were given back.
    async with asyncio.timeout(60):
        while await site.rows("select id from session where credentials is not null"):
            await asyncio.sleep(0.2)
    events = [event for (event,) in await site.rows("select event from audit_event order by id")]
    assert events == [
        "signed_in",
        "account_linked",
        "account_switched",
        "token_created",
        "signed_out",
        "token_revoked",
    ]


async def test_a_person_who_says_no_is_back_on_the_page(net: Devnet, site: Site) -> None:
    cyd = await net.account("cyd", pds=0)
    async with Browser(site.urls[0]) as browser:
        started = await browser.ask("GET", "/auth/start", params={"handle": cyd.handle})
        async with Person(cyd) as person:
            params = await person.refuse(started.headers["Location"])
        back = await browser.ask("GET", "/auth/callback", params=params)
        assert back.headers["Location"] == "/sign-in?error=denied"


async def test_a_token_is_finished_by_whoever_began_it(net: Devnet, site: Site) -> None:
    dan, eve = await net.account("dan", pds=0), await net.account("eve", pds=0)
    async with Browser(site.urls[0]) as browser:
        await browser.sign_in(dan)
        wish = await browser.ask("POST", "/auth/developer-token/start", json={})
        back = await browser.allow(wish.json["auth_url"], eve)
        assert back.status == 403
        assert back.json == {"detail": "developer token flow was started by a different user"}


async def test_nothing_that_a_real_server_granted_lies_in_the_open(net: Devnet, site: Site) -> None:
    gus = await net.account("gus", pds=0)
    async with Browser(site.urls[0]) as browser:
        await browser.sign_in(gus)
        wish = await browser.ask("POST", "/auth/developer-token/start", json={})
        back = await browser.allow(wish.json["auth_url"], gus)
        token = parse_qs(urlsplit(back.headers["Location"]).query)["exchange_token"][0]
        key = (await browser.ask("POST", "/auth/exchange", json={"exchange_token": token})).json["session_id"]
        await browser.ask("GET", "/auth/start", params={"handle": gus.handle})  # a flow that is under way
        secrets = {token, key, *browser.cookies()}
    file = KeyFile(site.folder / "keys" / "encryption.keys")
    ring = KeyRing(file)
    sealed = await site.rows("select credentials from session union all select secret from oauth_flow")
    assert len(sealed) == 3
    for (each,) in sealed:
        held = orjson.loads(ring.open(each))
        secrets |= {
            held[name] for name in ("access_token", "refresh_token", "verifier", "state") if name in held
        }
        secrets.add(orjson.loads(held["dpop_key"])["d"])
    secrets |= {*file.read()}
    assert len(secrets) == 14
    assert found(secrets, dump(site.dsn)) == []
    assert "made a key" in site.programs[0].output()
    for program in site.programs:
        assert found(secrets, program.output()) == []


async def test_fifty_calls_with_a_token_that_is_no_good_cause_one_refresh_at_a_real_pds(
    net: Devnet, site: Site
) -> None:
    """Three stores of their own, as in three processes: they share the database alone."""
    fay = await net.account("fay", pds=1)
    async with Browser(site.urls[0]) as browser:
        await browser.sign_in(fay)
    [(id,)] = await site.rows("select id from session")
    ring = KeyRing(KeyFile(site.folder / "keys" / "encryption.keys"))
    port = int(site.urls[0].rpartition(":")[2])
    published = scopes.union(scopes.fallbacks(WISH, CATALOG.definitions))
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(GuardedClient(allow_loopback=True))
        identities = IdentityResolver(http, net.plc_url, handle_resolvers=[net.control_url])
        client = OAuthClient(
            loopback_app(port, published, name="plyr"), http, identities, CATALOG.definitions
        )
        stores: list[tuple[CredentialStore, Pds]] = []
        for _ in range(3):
            pool = await stack.enter_async_context(make_pool(site.dsn, max_size=2, name="test"))
            store = await stack.enter_async_context(CredentialStore(pool, ring, client))
            stores.append((store, Pds(store, client)))
        store = stores[0][0]
        grant = await store.read(id)
        broken = grant.credentials.access_token[:-6] + "AAAAAA"
        await store.keep(id, grant.version, msgspec.structs.replace(grant.credentials, access_token=broken))
        calls = [stores[n % 3][1].call(id, "GET", "com.atproto.server.getSession") for n in range(50)]
        found = await asyncio.gather(*calls)
        assert [answer.status for answer in found] == [200] * 50
        assert await site.rows("select version, ended_at from session") == [(grant.version + 1, None)]

        # A refresh token that was used behind our back: the person is asked to sign in again.
        grant = await store.read(id)
        await client.refresh(grant.credentials)
        outcome = await asyncio.gather(
            *(each.refreshed(id, grant.version) for each, _ in stores), return_exceptions=True
        )
        assert [str(error) for error in outcome] == ["the session has ended: grant_gone"] * 3
