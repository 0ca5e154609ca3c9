"""A server that takes tokens: accounts with real keys, a directory, and hosts that it may be sent to."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from appview.app import make_reader, make_writer
from appview.auth.service_tokens import ServiceTokens
from appview.auth.viewers import Sessions, Viewers
from appview.clients import Clients
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from tests.fakenet.http import FakeWeb
from tests.fakenet.plc import FakePlc
from tests.fakenet.repo import FakeRepo
from tests.fakenet.tls import Authority
from tests.fakenet.tokens import token
from tests.integration.appview.service import Answer, Server, serving

OURS, ALSO_OURS = "did:web:plyr.test", "did:plc:plyrplyrplyrplyrplyrplyr"
LATEST = "fm.plyr.feed.getLatest"


@dataclass
class World:
    """`web` are the hosts of did:web accounts and of whatever an attacker wants us to ask."""

    plc: FakePlc
    web: FakeWeb
    client: GuardedClient
    catalog: Catalog
    dsn: str

    async def execute(self, statement: LiteralString, *params: object) -> None:
        async with await psycopg.AsyncConnection.connect(self.dsn) as conn:
            await conn.execute(statement, params)

    def known(self, seed: object, **options: Any) -> FakeRepo:
        """An account in our tables, key and all. The directory has never heard of it."""
        repo = FakeRepo(seed=seed, **options)
        with psycopg.connect(self.dsn) as conn:
            conn.execute(
                "insert into repo (did, handle, pds, signing_key, rev) values (%s, %s, %s, %s, %s)",
                (repo.did, repo.handle, "https://pds.test", repo.key.did_key, None),
            )
        return repo

    def stranger(self, seed: object, **options: Any) -> FakeRepo:
        """An account that the directory alone knows."""
        repo = FakeRepo(seed=seed, **options)
        self.plc.publish(repo, "https://pds.test")
        return repo

    @asynccontextmanager
    async def server(
        self,
        *,
        sessions: Sessions | None = None,
        clients: Clients | None = None,
        now: Callable[[], float] = time.time,
        service: dict[str, Any] | None = None,
        **options: Any,
    ) -> AsyncIterator[Server]:
        """A process of its own, as far as the database can tell. `service` goes to its ServiceTokens."""
        async with (
            make_reader(self.dsn, connections=2) as reads,
            make_writer(self.dsn) as writes,
        ):
            services = ServiceTokens(
                reads=reads,
                writes=writes,
                resolver=IdentityResolver(self.client, self.plc.origin, check_handles=False),
                audiences={OURS, ALSO_OURS},
                now=now,
                **(service or {}),
            )
            viewers = Viewers(clients or Clients(), services=services, sessions=sessions)
            async with serving(
                reads, self.catalog, dsn=self.dsn, service_did=OURS, viewer_of=viewers.of, **options
            ) as server:
                yield server


@asynccontextmanager
async def made(dsn: str, catalog: Catalog) -> AsyncIterator[World]:
    authority = Authority()
    async with (
        FakePlc() as plc,
        FakeWeb(authority) as web,
        GuardedClient(True, resolver=web.names, ssl_context=authority.client_context) as client,
    ):
        yield World(plc, web, client, catalog, dsn)


def good(repo: FakeRepo, **changes: Any) -> str:
    """A token that is as it must be, but for the changes."""
    claims: dict[str, Any] = {"iss": repo.did, "aud": OURS, "lxm": LATEST}
    return token(repo.key, **(claims | changes))


async def ask(server: Server, bearer: str, method: str = LATEST, **headers: str) -> Answer:
    headers["Authorization"] = f"Bearer {bearer}"
    return await server.request("GET", f"/xrpc/{method}", headers=headers)
