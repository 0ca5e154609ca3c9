"""Builds what signing in needs: the key ring, the OAuth client with its keys, sessions, and their routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg
import structlog
from aiohttp import web

from appview.auth import kept_keys, scopes
from appview.auth.assembly import Auth, assembled
from appview.auth.credentials import CredentialStore
from appview.auth.deletion import Eraser
from appview.auth.desk import SignIn
from appview.auth.grant import Credentials, Flow, Granted, Refusal, SignInFailed
from appview.auth.keyring import CannotOpen, GivenKeys, KeyFile, KeyRing
from appview.auth.metadata import App, NoClient, app_at
from appview.auth.oauth import OAuthClient, PdsAnswer
from appview.loops import beside
from appview.pds import Pds
from bin.settings import Settings
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from storage.postgres import Pool
from storage.reader import Reads

log = structlog.get_logger()

CLIENT_NAME = "plyr"
KEYS_EVERY_S = 60.0


def key_ring(settings: Settings) -> KeyRing:
    """The ring of the setting, else of the file. Raises BadKey."""
    given = settings.encryption_keys
    return KeyRing(GivenKeys(given) if given else KeyFile(settings.key_file))


def own_origin(settings: Settings) -> str | None:
    """Where people reach us; None while the port is not chosen."""
    if settings.public_url is not None:
        return settings.public_url
    return f"http://127.0.0.1:{settings.port}" if settings.port else None


@asynccontextmanager
async def signing_in(
    settings: Settings,
    catalog: Catalog,
    reads: Reads,
    pool: Pool,
    http: GuardedClient,
    *,
    ring: KeyRing,
    client_of: Callable[[web.Request], str | None] = lambda request: request.remote,
    private: Sequence[Eraser] = (),
) -> AsyncIterator[Auth]:
    """All of it, as long as the block lasts; `client_of` tells a client's address, `private` erases what
    others keep of an account."""
    wish = scopes.full(catalog.namespace)
    origin = own_origin(settings)
    config = SignIn(
        scope=wish,
        definitions=catalog.definitions,
        frontend_url=settings.frontend_url,
        origin=origin,
        collections=catalog.collections.own,
        client_of=client_of,
    )
    async with (
        _oauth(settings, catalog, pool, http, ring) as oauth,
        assembled(pool, reads, ring, oauth, config, private=private) as auth,
    ):
        yield auth


@asynccontextmanager
async def acting(
    settings: Settings, catalog: Catalog, pool: Pool, http: GuardedClient, *, ring: KeyRing
) -> AsyncIterator[Pds]:
    """Calls in the name of people who signed in elsewhere, as long as the block lasts."""
    async with (
        _oauth(settings, catalog, pool, http, ring) as oauth,
        CredentialStore(pool, ring, oauth) as store,
    ):
        yield Pds(store, oauth)


@asynccontextmanager
async def _oauth(
    settings: Settings, catalog: Catalog, pool: Pool, http: GuardedClient, ring: KeyRing
) -> AsyncIterator[OAuthClient | NoOAuth]:
    wish = scopes.full(catalog.namespace)
    resolvers = [settings.handle_resolver] if settings.handle_resolver else []
    published = scopes.union(scopes.fallbacks(wish, catalog.definitions))
    app = await _client(own_origin(settings), published, pool, ring)
    identities = IdentityResolver(http, settings.plc_url, handle_resolvers=resolvers)
    oauth = NoOAuth() if app is None else OAuthClient(app, http, identities, catalog.definitions)
    async with beside("client keys", lambda: _watch_keys(oauth, pool, ring)):
        yield oauth


async def _client(origin: str | None, scope: str, pool: Pool, ring: KeyRing) -> App | None:
    """Who we are to authorization servers. None where no server would believe it; the log says why."""
    if origin is None:
        return None
    try:
        keys = None
        if origin.startswith("https://"):
            async with pool.connection() as conn:
                keys = await kept_keys.load(conn, ring)
        return app_at(origin, scope, name=CLIENT_NAME, keys=keys)
    except (NoClient, ValueError) as error:
        log.warning("nobody can sign in here", reason=str(error))
        return None


async def _watch_keys(oauth: OAuthClient | NoOAuth, pool: Pool, ring: KeyRing) -> None:
    """Learn of new client keys long before any of them signs."""
    while True:
        await asyncio.sleep(KEYS_EVERY_S)
        if oauth.app is None or oauth.app.keys is None:
            continue
        try:
            async with pool.connection() as conn:
                oauth.app = replace(oauth.app, keys=await kept_keys.load(conn, ring))
        except (psycopg.OperationalError, CannotOpen) as error:
            log.warning("cannot read the client's keys", reason=str(error))


class NoOAuth:
    """The OAuth client of a place where nobody can sign in. Sessions that exist are read all the same."""

    app: App | None = None

    async def begin(self, identifier: str, scope: str, *, prompt: str | None = None) -> tuple[str, Flow]:
        raise _nobody()

    async def finish(self, flow: Flow, params: Mapping[str, str]) -> Granted:
        raise _nobody()

    async def refresh(self, credentials: Credentials) -> Credentials:
        raise _nobody()

    async def revoke(self, credentials: Credentials) -> None:
        raise _nobody()

    async def call_pds(
        self, credentials: Credentials, method: str, nsid: str, **options: object
    ) -> tuple[PdsAnswer, Credentials]:
        raise _nobody()


def _nobody() -> SignInFailed:
    return SignInFailed(Refusal.BLOCKED, "no authorization server can know this appview by its address")
