"""A server whose refresh tokens are good once, and a client that speaks to it, for tests of the lease.

Run as a program, it is one process that makes many requests at once in the name of a session:
`python -m tests.integration.appview.auth.grants DSN KEY_FILE SESSION COUNT`, and prints how each ended.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import msgspec
import orjson
from aiohttp import web

from appview.auth.credentials import CredentialsFailed, CredentialStore, SessionEnded
from appview.auth.grant import Credentials, Refusal, SignInFailed
from appview.auth.keyring import KeyFile, KeyRing
from appview.auth.oauth import PdsAnswer
from appview.pds import Pds
from lexicons.syntax import Did
from storage.postgres import make_pool
from tests.fakenet.port import OnPort

NAME = "test grants"
DID = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")


class GrantServer(OnPort):
    """One grant: its tokens have numbers, and only the newest pair is good. A refresh token that was used
    before ends the grant, as at a real server."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.gone = False
        self.down = False
        self.expired = False  # the access token
        self.refreshes = 0
        self.replays = 0
        self.revoked: list[str] = []
        self.used: Counter[str] = Counter()
        self.delay_s = 0.0
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    def credentials(self) -> Credentials:
        return Credentials(
            did=DID,
            access_token=f"access-{self.number}",
            refresh_token=f"refresh-{self.number}",
            dpop_key="{}",
            issuer=self.url,
            pds=self.url,
            scope="atproto",
        )

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.post("/refresh", self._refresh),
            web.post("/revoke", self._revoke),
            web.post("/use", self._use),
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answer.set()
        await super().__aexit__(kind, error, trace)

    async def _refresh(self, request: web.Request) -> web.Response:
        if self.down:
            return web.json_response({}, status=503)
        good = not self.gone and (await request.json())["token"] == f"refresh-{self.number}"
        if good:
            self.refreshes += 1
            self.number += 1
            self.expired = False
        else:
            self.replays += not self.gone
            self.gone = True
        self.asked.set()
        await self.answer.wait()
        await asyncio.sleep(self.delay_s)
        if not good:
            return web.json_response({}, status=400)
        return web.json_response(msgspec.to_builtins(self.credentials()))

    async def _revoke(self, request: web.Request) -> web.Response:
        if self.down:
            return web.json_response({}, status=503)
        self.revoked.append((await request.json())["token"])
        return web.json_response({})

    async def _use(self, request: web.Request) -> web.Response:
        token = (await request.json())["token"]
        good = not self.gone and not self.expired and token == f"access-{self.number}"
        self.used[token] += good
        return web.json_response({}, status=200 if good else 401)


class GrantClient:
    """The client of that server, with the methods of the OAuth client."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def refresh(self, credentials: Credentials) -> Credentials:
        status, body = await self._post(credentials.issuer + "/refresh", credentials.refresh_token)
        if status == 400:
            raise SignInFailed(Refusal.GRANT_GONE)
        return msgspec.convert(body, Credentials)

    async def revoke(self, credentials: Credentials) -> None:
        await self._post(credentials.issuer + "/revoke", credentials.refresh_token)

    async def call_pds(
        self,
        credentials: Credentials,
        method: str,
        nsid: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str | None = None,
        timeout_s: float = 10,
    ) -> tuple[PdsAnswer, Credentials]:
        status, _ = await self._post(credentials.pds + "/use", credentials.access_token)
        return PdsAnswer(status, {}, b"", status == 401), credentials

    async def _post(self, url: str, token: str | None) -> tuple[int, Any]:
        try:
            async with self._http.post(url, json={"token": token}) as answer:
                if answer.status == 503:
                    raise SignInFailed(Refusal.UNREACHABLE)
                return answer.status, await answer.json()
        except aiohttp.ClientError:
            raise SignInFailed(Refusal.UNREACHABLE) from None


async def use(pds: Pds, session_id: int) -> str:
    """How one call ended, in a word."""
    try:
        return str((await pds.call(session_id, "GET", "com.example.use")).status)
    except SessionEnded as ended:
        return f"ended: {ended.reason}"
    except CredentialsFailed as failed:
        return type(failed).__name__


async def _main(dsn: str, keys: str, session_id: int, count: int) -> None:
    async with make_pool(dsn, max_size=4, name=NAME) as pool, aiohttp.ClientSession() as http:
        client = GrantClient(http)
        async with CredentialStore(pool, KeyRing(KeyFile(Path(keys))), client, lease_s=3600) as store:
            pds = Pds(store, client)
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.readline)
            outcomes = await asyncio.gather(*(use(pds, session_id) for _ in range(count)))
    sys.stdout.write(orjson.dumps(outcomes).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
