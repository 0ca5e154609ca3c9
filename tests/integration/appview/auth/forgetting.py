"""A PDS with one person's records and the server of their grant, which stand still when a test wants to kill
who asks them; and the program that is killed.

`python -m tests.integration.appview.auth.forgetting DSN KEY_FILE ARCHIVE DUMPS` makes all steps of whatever
deletion is due, as `plyr web` and `plyr sync run` do, and ends when none is open.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import aiohttp
from aiohttp import web

from appview.auth.credentials import CredentialStore
from appview.auth.deletion import Deletions
from appview.auth.grant import Credentials, Refusal, SignInFailed
from appview.auth.keyring import KeyFile, KeyRing
from appview.auth.oauth import PdsAnswer
from appview.pds import Pds
from firehose.net import Streamed
from indexer.deletion import Wiper
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage.postgres import make_pool
from tests.fakenet.port import OnPort
from tests.integration.appview.auth.signing import asked_at, credentials_at

NAME = "forgetting"


class HomeServer(OnPort):
    """`records` are paths. `stall` is a word: the next request of that kind arrives (`arrived` is set) and is
    never answered, before or after it did something. `status`: what the list is answered with instead.
    `page`: how many it gives at once, whatever it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[str] = []
        self.revoked: list[str] = []
        self.stall: str | None = None
        self.arrived = asyncio.Event()
        self.status = 200
        self.page: int | None = None
        self.batches = 0

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get("/xrpc/com.atproto.repo.listRecords", self._list),
            web.post("/xrpc/com.atproto.repo.applyWrites", self._apply),
            web.post("/revoke", self._revoke),
        )

    def credentials(self, did: Did) -> Credentials:
        return credentials_at(self.url, did)

    async def _stalled(self, word: str) -> None:
        if self.stall == word:
            self.arrived.set()
            await asyncio.sleep(3600)

    async def _list(self, request: web.Request) -> web.Response:
        if self.status != 200:
            return web.json_response({"error": "Elsewhere"}, status=self.status)
        collection, size = request.query["collection"], self.page or int(request.query["limit"])
        ours = sorted(path for path in self.records if path.startswith(f"{collection}/"))
        start = int(request.query.get("cursor", "0"))
        page = [{"uri": f"at://{request.query['repo']}/{path}"} for path in ours[start : start + size]]
        more = {"cursor": str(start + size)} if len(ours) > start + size else {}
        return web.json_response({"records": page} | more)

    async def _apply(self, request: web.Request) -> web.Response:
        await self._stalled("before writes")
        writes = (await request.json())["writes"]
        paths = {f"{write['collection']}/{write['rkey']}" for write in writes}
        assert all(write["$type"] == "com.atproto.repo.applyWrites#delete" for write in writes)
        if not paths <= set(self.records):
            return web.json_response({"error": "InvalidRequest"}, status=400)
        self.records = [path for path in self.records if path not in paths]
        self.batches += 1
        await self._stalled("after writes")
        return web.json_response({})

    async def _revoke(self, request: web.Request) -> web.Response:
        await self._stalled("revoke")
        self.revoked.append((await request.json())["token"])
        return web.json_response({})


class HomeClient:
    """What the OAuth client is to those that use it."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def refresh(self, credentials: Credentials) -> Credentials:
        raise SignInFailed(Refusal.GRANT_GONE)

    async def revoke(self, credentials: Credentials) -> None:
        await asked_at(
            self._http, "POST", credentials.issuer + "/revoke", json={"token": credentials.refresh_token}
        )

    async def call_pds(
        self,
        credentials: Credentials,
        method: str,
        nsid: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | Streamed | None = None,
        content_type: str | None = None,
        timeout_s: float = 10,
    ) -> tuple[PdsAnswer, Credentials]:
        assert not isinstance(body, Streamed)  # who is forgotten uploads nothing
        url = f"{credentials.pds}/xrpc/{nsid}"
        headers = {} if content_type is None else {"Content-Type": content_type}
        answer = await asked_at(self._http, method, url, params=params, data=body, headers=headers)
        return answer, credentials


async def _main(dsn: str, keys: str, archive: str, dumps: str) -> None:
    async with make_pool(dsn, max_size=4, name=NAME) as pool, aiohttp.ClientSession() as http:
        client = HomeClient(http)
        async with CredentialStore(pool, KeyRing(KeyFile(Path(keys))), client) as store:
            own = Catalog.load().collections.own
            deletions = Deletions(pool, Pds(store, client), store, own, settle_s=0)
            wiper = Wiper(pool, archive=Path(archive), dumps=Path(dumps))
            loops = [asyncio.create_task(deletions.run()), asyncio.create_task(wiper.run())]
            while True:
                async with pool.connection() as conn:
                    row = await (
                        await conn.execute("select count(*) from account_deletion where finished_at is null")
                    ).fetchone()
                if row == (0,):
                    break
                await asyncio.sleep(0.05)
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:5]))
