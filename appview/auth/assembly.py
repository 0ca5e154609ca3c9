"""Signing in as one thing: what the application needs of it, and what others build on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from appview import pds
from appview.auth import credentials, flows
from appview.auth.account_routes import Accounts
from appview.auth.client_routes import ClientDocuments
from appview.auth.credentials import CredentialStore
from appview.auth.deletion import Deletions, Eraser
from appview.auth.deletion_routes import DeletionRoutes
from appview.auth.desk import Desk, SignIn
from appview.auth.flows import Flows
from appview.auth.keyring import KeyRing
from appview.auth.metadata import App
from appview.auth.operator_routes import OperatorRoutes
from appview.auth.routes import WayIn
from appview.auth.sessions import Sessions
from appview.auth.token_routes import TokenRoutes
from appview.loops import beside
from appview.pds import Pds
from storage.postgres import Pool
from storage.reader import Reads


class OAuth(flows.Client, credentials.Server, pds.Client, Protocol):
    """An OAuth client. `app`: who we are to authorization servers, None where none can know us."""

    @property
    def app(self) -> App | None: ...


@dataclass(frozen=True, slots=True)
class Auth:
    """`pds`: calls in the name of somebody who is signed in."""

    desk: Desk
    pds: Pds
    documents: ClientDocuments
    deletions: Deletions

    @property
    def sessions(self) -> Sessions:
        return self.desk.sessions

    def add_to(self, app: web.Application) -> None:
        """Its routes, and the loops of its sessions and deletions while the application runs."""
        deletion = DeletionRoutes(self.desk, self.deletions)
        for part in (
            WayIn(self.desk),
            Accounts(self.desk),
            TokenRoutes(self.desk),
            OperatorRoutes(self.desk),
            self.documents,
            deletion,
        ):
            part.add_to(app.router)
        app.cleanup_ctx.append(self._running)

    async def _running(self, _: web.Application) -> AsyncIterator[None]:
        async with beside("sessions", self.sessions.run), beside("deletions", self.deletions.run):
            yield


@asynccontextmanager
async def assembled(
    pool: Pool,
    reads: Reads,
    ring: KeyRing,
    oauth: OAuth,
    config: SignIn,
    *,
    private: Sequence[Eraser] = (),
) -> AsyncIterator[Auth]:
    """All of it, as long as the block lasts; at its end a refresh that is under way is waited for. `private`:
    as `Deletions` has it."""
    async with CredentialStore(pool, ring, oauth) as store:
        sessions = Sessions(pool, reads, store)
        desk = Desk(pool, sessions, Flows(pool, ring, oauth, sessions), config)
        calls = Pds(store, oauth)
        deletions = Deletions(pool, calls, store, config.collections, private=private)
        yield Auth(desk, calls, ClientDocuments(lambda: oauth.app), deletions)
