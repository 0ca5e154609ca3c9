"""An account, its PDS and authorization server, another such server, a directory; our client among them.

Alice lives at `home`; `away` is a server of somebody else's. `secrets` gathers what nobody else may learn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import orjson

from appview.auth import scopes
from appview.auth.grant import Credentials, Flow
from appview.auth.metadata import App, loopback_app
from appview.auth.oauth import OAuthClient
from appview.auth.servers import Servers
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from tests.fakenet.authserver import AuthServer
from tests.fakenet.http import Names
from tests.fakenet.plc import FakePlc

ALICE = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
MALLORY = Did("did:plc:mmmmmmmmmmmmmmmmmmmmmmmm")
CATALOG = Catalog.load()
WISH = scopes.full("fm.plyr")
PUBLISHED = scopes.union(scopes.fallbacks(WISH, CATALOG.definitions))
TIMEOUT_S = 20.0  # this machine may be busy
HASTE_S = 0.5


def document(did: str, handle: str | None, pds: str | None) -> dict[str, object]:
    service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}
    return {
        "id": did,
        "alsoKnownAs": [f"at://{handle}"] if handle else [],
        "verificationMethod": [],
        "service": [service] if pds else [],
    }


@dataclass
class Stage:
    home: AuthServer
    away: AuthServer
    plc: FakePlc
    names: Names
    http: GuardedClient
    app: App
    client: OAuthClient = field(init=False)
    flow: Flow | None = None

    def __post_init__(self) -> None:
        self.client = self.restarted()

    def restarted(
        self, app: App | None = None, *, http: GuardedClient | None = None, timeout_s: float = TIMEOUT_S
    ) -> OAuthClient:
        """Another client, without a memory."""
        http = http or self.http
        return OAuthClient(
            app or self.app,
            http,
            IdentityResolver(
                http,
                self.plc.origin,
                handle_resolvers=[self.plc.origin],
                refresh_interval_s=0,
                timeout_s=TIMEOUT_S,
            ),
            CATALOG.definitions,
            servers=Servers(http, timeout_s=timeout_s),
            timeout_s=timeout_s,
        )

    def settle(self, did: str, handle: str | None, pds: str | None) -> None:
        """Make the account known, under a handle that leads to it."""
        self.plc.docs[did] = document(did, handle, pds)
        if handle is not None:
            self.plc.handles[handle] = did

    async def begin(self, identifier: str = "alice.test") -> tuple[str, Flow]:
        url, self.flow = await self.client.begin(identifier, WISH)
        return url, self.flow

    async def signed_in(self) -> Credentials:
        url, flow = await self.begin()
        return (await self.client.finish(flow, self.home.consent(url, ALICE))).credentials

    def secrets(self) -> set[str]:
        """All that was secret in this test: the servers' view of it, and our keys."""
        keys = [self.flow.dpop_key] if self.flow else []
        keys += [key.secret for key in self.app.keys.all()] if self.app.keys else []
        private = {orjson.loads(key)["d"] for key in keys}
        told = {self.flow.state, self.flow.verifier} if self.flow else set()
        return self.home.secrets | self.away.secrets | private | told


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(AuthServer())
        away = await stack.enter_async_context(AuthServer())
        plc = await stack.enter_async_context(FakePlc())
        names = Names()
        http = await stack.enter_async_context(GuardedClient(allow_loopback=True, resolver=names))
        app = loopback_app(8000, PUBLISHED, name="plyr")
        stage = Stage(home, away, plc, names, http, app)
        stage.settle(ALICE, "alice.test", home.origin)
        stage.settle(MALLORY, "mallory.test", away.origin)
        yield stage
