"""What the routes of signing in share: who asks, where flows begin, which page comes next, what is noted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from aiohttp import hdrs, web

from appview.auth import cookies, scopes
from appview.auth.cookies import Cookies, browser_of
from appview.auth.exchange import Fetched
from appview.auth.flows import Flows, Wish
from appview.auth.grant import SignInFailed
from appview.auth.sessions import Sessions
from appview.rest.answers import Refused, answer
from firehose.address import is_loopback_host
from lexicons.syntax import Nsid
from storage import audit, sessions
from storage.audit import Event
from storage.flows import FlowKind
from storage.postgres import Connection, Pool
from storage.sessions import Account, End, Kind
from storage.viewers import Session

HANDLE_INVALID = "handle.invalid"

# The grant is gone: the frontend tells a person so, other than for a key that is no good.
_EXPIRED = frozenset({End.GRANT_GONE, End.REFRESH_LOST})


@dataclass(frozen=True, slots=True)
class SignIn:
    """How people sign in here. `scope`: what a session is asked to allow. `frontend_url` None: the pages are
    our own. `origin`: under which people reach us, and which the cookies belong to. `client_of`: a client's
    address. `collections`: of the records that are ours, which a person may have removed."""

    scope: str
    definitions: Mapping[str, Mapping[str, Any]]
    frontend_url: str | None = None
    origin: str | None = None
    client_of: Callable[[web.Request], str | None] = lambda request: request.remote
    collections: frozenset[Nsid] = field(kw_only=True)

    @property
    def secure(self) -> bool:
        """Whether cookies are for https alone: anywhere but on a machine of one's own."""
        return self.origin is None or self.origin.startswith("https://")

    def elsewhere(self, request: web.Request) -> str | None:
        """The same address under our own name, if a browser on this machine asks under another one of its
        names: cookies of `localhost` are none of `127.0.0.1`."""
        own = urlsplit(self.origin or "").hostname or ""
        asked = re.sub(r":\d+\Z", "", request.host).strip("[]")
        if asked == own or not is_loopback_host(own) or not is_loopback_host(asked):
            return None
        return f"{self.origin}{request.raw_path}"

    def page(self, theirs: str, ours: str, query: Mapping[str, str]) -> str:
        """The address of a page: the path of the frontend's, or of ours."""
        path = ours if self.frontend_url is None else self.frontend_url + theirs
        return f"{path}?{urlencode(query)}" if query else path


@dataclass(frozen=True, slots=True)
class Asking:
    """A request in the name of somebody who is signed in."""

    session: Session
    by_cookie: bool


@dataclass(frozen=True, slots=True)
class SetOut:
    """A flow that began: where it goes on, and the browser that it belongs to."""

    url: str
    browser: str


def key_of(request: web.Request) -> tuple[str, bool] | None:
    """The key that a request shows, and whether it was in the cookie. The cookie comes first."""
    cookie = request.cookies.get(cookies.SESSION)
    if cookie:
        return cookie, True
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return (token.strip(), False) if scheme.lower() == "bearer" and token.strip() else None


def lone_key(request: web.Request) -> str | None:
    """The key that a request shows, where it shows one and no other."""
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    if hdrs.COOKIE in request.headers:
        return None if given else request.cookies.get(cookies.SESSION)
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else None


class Desk:
    def __init__(self, pool: Pool, signed_in: Sessions, flows: Flows, config: SignIn) -> None:
        self.pool = pool
        self.sessions = signed_in
        self.flows = flows
        self.config = config
        self.cookies = Cookies(secure=config.secure)

    async def asking(self, request: web.Request) -> Asking:
        """Who asks. Raises Refused 401."""
        shown = key_of(request)
        if shown is None:
            raise Refused(401, "not authenticated - login required")
        session = await self.sessions.find(shown[0])
        if session is None:
            raise Refused(401, "invalid or expired session")
        if session.ended is not None:
            gone = session.ended in _EXPIRED
            raise Refused(401, "session_expired" if gone else "invalid or expired session")
        return Asking(session, shown[1])

    def allows_all(self, session: Session) -> bool:
        """Whether the session's grant allows all that we ask for at sign-in. A minted session has no grant
        to compare."""
        config = self.config
        return not session.granted or scopes.covers(session.scope, config.scope, config.definitions)

    def require_scope(self, session: Session) -> None:
        """Raises Refused 403 unless the session's grant allows all."""
        if not self.allows_all(session):
            raise Refused(403, "scope_upgrade_required")

    def require_grant(self, session: Session) -> None:
        """Raises Refused 403 for a minted session: it reads, and ends no grant that a person gave."""
        if not session.granted:
            raise Refused(403, "this token cannot act for its account")

    def slide(self, request: web.Request, response: web.StreamResponse, asked: Asking) -> None:
        """The session's two weeks begin anew, and so must its cookie's. What its hours are counted by may be
        another request that comes before; so an older session's cookie is given each time."""
        session = asked.session
        if asked.by_cookie and session.kind == Kind.BROWSER and (session.stale or session.aged):
            self.cookies.give_session(response, request.cookies[cookies.SESSION])

    async def linked(self, session: Session) -> list[Account]:
        """The accounts of this session's browser, itself among them."""
        if session.kind != Kind.BROWSER:
            return []
        async with self.pool.connection() as conn:
            return await sessions.linked(conn, session.browser)

    async def set_out(
        self,
        request: web.Request,
        identifier: str,
        wish: Callable[[str], Wish],
        *,
        prompt: str | None = None,
    ) -> SetOut:
        """Begin a flow. Raises Refused 400."""
        browser = browser_of(request)
        try:
            url = await self.flows.begin(identifier, self.config.scope, wish(browser), prompt=prompt)
        except SignInFailed as failed:
            raise not_started(failed) from None
        return SetOut(url, browser)

    def told(self, out: SetOut) -> web.StreamResponse:
        """`{auth_url}`, and the flow bound to this browser."""
        response = answer({"auth_url": out.url})
        self.cookies.bind(response, out.browser)
        return response

    async def give_way(self, request: web.Request, fetched: Fetched) -> None:
        """Whoever was signed in in this browser before, and is not linked: nobody has their key any more."""
        before = await self.sessions.find(request.cookies.get(cookies.SESSION, ""))
        if before is None or before.kind != Kind.BROWSER or before.browser == fetched.given.browser:
            return
        async with self.pool.connection() as conn, conn.transaction():
            await self.sessions.end(conn, await sessions.of_browser(conn, before.browser), End.REPLACED)

    async def note(
        self, conn: Connection, request: web.Request, event: Event, session: Session, **detail: str | int
    ) -> None:
        client = self.config.client_of(request)
        await audit.add(conn, event, did=session.did, session=session.id, client=client, **detail)

    async def note_failure(self, request: web.Request, kind: FlowKind | None, reason: str) -> None:
        client = self.config.client_of(request)
        async with self.pool.connection() as conn:
            await audit.add(conn, Event.SIGN_IN_FAILED, client=client, reason=reason, kind=kind)


def not_started(failed: SignInFailed) -> Refused:
    return Refused(400, f"failed to start OAuth flow: {failed}")
