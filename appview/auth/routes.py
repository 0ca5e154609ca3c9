"""The way in: to the authorization server, back from it, and to the session that came of it.

The callback is where a stranger's server sends a person back to us. Whatever becomes of a flow that we know
leads on to a page, with a word that says why. An answer to a flow that we do not know, and one that somebody
else brings than had set out, is a 401 or 403, or the page if it is a person who looks. With no
`frontend_url` these are pages of our own, on this very origin: there the callback itself sets the cookie.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import structlog
from aiohttp import hdrs, web

from appview.auth import cookies, exchange
from appview.auth.cookies import browser_of, is_browser, wants_page
from appview.auth.desk import Desk, not_started
from appview.auth.flows import Arrived, OtherUser, Taken, Wish
from appview.auth.grant import Refusal, SignInFailed
from appview.guards import GATE
from appview.rest import account_shapes
from appview.rest.answers import Refused, answer, body_of, rest
from appview.rest.spec import described
from storage.flows import FlowKind
from storage.sessions import Kind

log = structlog.get_logger()

_PAGES = {
    FlowKind.SIGN_IN: "/portal",
    FlowKind.LINK: "/portal",
    FlowKind.TOKEN: "/portal",
    FlowKind.SCOPE: "/settings",
}
_MARKS: Mapping[FlowKind, Mapping[str, str]] = {
    FlowKind.SIGN_IN: {},
    FlowKind.LINK: {"account_added": "true"},
    FlowKind.TOKEN: {"dev_token": "true"},
    FlowKind.SCOPE: {"scope_upgraded": "true"},
}
_OTHER_USER = {
    FlowKind.TOKEN: "developer token flow was started by a different user",
    FlowKind.SCOPE: "scope upgrade flow was started by a different user",
}


_ENDED = "session_expired"


class _Exchange(msgspec.Struct):
    exchange_token: str


class _StartQuery(msgspec.Struct):
    handle: str | None = None
    pds_url: str | None = None
    return_to: str | None = None


class _CallbackQuery(msgspec.Struct):
    state: str
    code: str | None = None
    iss: str | None = None
    error: str | None = None


class WayIn:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/auth/start", rest(self.start), allow_head=False)
        router.add_get("/auth/callback", rest(self.callback), allow_head=False)
        router.add_post("/auth/exchange", rest(self.exchange))
        router.add_get("/auth/pds-options", rest(pds_options))

    @described(
        "To the authorization server of an account",
        query=_StartQuery,
        status=307,
        media=None,
        errors={400: "`failed to start OAuth flow: …`"},
    )
    async def start(self, request: web.Request) -> web.StreamResponse:
        """To the authorization server of `handle` (a handle, a DID), or of the PDS at `pds_url`."""
        desk, query = self._desk, request.query
        handle, pds_url = query.get("handle", "").strip(), query.get("pds_url", "").strip()
        if handle and pds_url:
            raise Refused(400, "provide either handle or pds_url, not both")
        if not handle and not pds_url:
            raise Refused(400, "either handle or pds_url is required")
        return_to = own_path(query.get("return_to"))
        if request.app[GATE].is_led(request):
            # Or anybody's page could sign people in as somebody: there are servers that ask nobody.
            back = {} if return_to is None else {"return_to": return_to}
            path = desk.config.page("/login", "/sign-in", {"handle": handle or pds_url} | back)
            raise web.HTTPSeeOther(path)
        if there := desk.config.elsewhere(request):
            return _redirect(307, there)
        browser = browser_of(request)
        wish = Wish(FlowKind.SIGN_IN, browser, return_to=return_to)
        try:
            url = await desk.flows.begin(handle or pds_url, desk.config.scope, wish)
        except SignInFailed as failed:
            if wants_page(request):
                raise web.HTTPSeeOther(self._sign_in(failed.refusal, handle=handle or pds_url)) from None
            raise not_started(failed) from None
        response = _redirect(307, url)
        desk.cookies.bind(response, browser)
        return response

    @described(
        "Back from the authorization server, and on to a page",
        query=_CallbackQuery,
        status=303,
        media=None,
        errors={401: "`OAuth callback failed: …`", 403: "the flow was started by somebody else"},
    )
    async def callback(self, request: web.Request) -> web.StreamResponse:
        """Back from the authorization server."""
        desk, state = self._desk, request.query.get("state")
        if not state:
            missing = {"type": "missing", "loc": ["query", "state"], "msg": "Field required", "input": None}
            raise Refused(422, [missing])
        if there := desk.config.elsewhere(request):
            return _redirect(307, there)
        browser = request.cookies.get(cookies.FLOW)
        try:
            taken = await desk.flows.take(state, browser)
        except SignInFailed as failed:
            if failed.refusal is Refusal.OTHER_BROWSER:  # what was never ours is nobody's business
                await self._failed(request, None, failed.refusal)
            if wants_page(request):
                raise web.HTTPSeeOther(self._sign_in(failed.refusal)) from None
            raise Refused(401, f"OAuth callback failed: {failed}") from None
        params = {name: request.query[name] for name in request.query}
        try:
            arrived = await desk.flows.finish(taken, params, desk.config.client_of(request))
        except OtherUser as other:
            await self._failed(request, taken, "other_user")
            if wants_page(request):
                raise web.HTTPSeeOther(self._back(taken, "other_user")) from None
            raise Refused(403, _OTHER_USER[other.kind]) from None
        except SignInFailed as failed:
            await self._failed(request, taken, failed.refusal)
            raise web.HTTPSeeOther(self._back(taken, failed.refusal)) from None
        return await self._arrive(request, taken, arrived)

    async def _arrive(self, request: web.Request, taken: Taken, arrived: Arrived) -> web.StreamResponse:
        desk, kind = self._desk, taken.kind
        token = {"exchange_token": arrived.exchange_token}
        if desk.config.frontend_url is not None or kind is FlowKind.TOKEN:
            newcomer = kind is FlowKind.SIGN_IN and not arrived.is_artist
            path = "/profile/setup" if newcomer else _PAGES[kind]
            return _redirect(303, desk.config.page(path, "/account", {**token, **_MARKS[kind]}))
        response = _redirect(303, taken.row.return_to or desk.config.page("", "/account", _MARKS[kind]))
        browser = request.cookies.get(cookies.FLOW)
        fetched = await exchange.redeem(
            desk.pool, desk.sessions, arrived.exchange_token, browser, in_browser=True
        )
        if fetched is None:  # ended meanwhile, as by who signs out everywhere
            await self._failed(request, taken, _ENDED)
            raise web.HTTPSeeOther(self._back(taken, _ENDED))
        await desk.give_way(request, fetched)
        desk.cookies.give_session(response, fetched.key.text)
        return response

    @described(
        "A session for an exchange token: in a browser as a cookie",
        answer=account_shapes.SessionKey,
        body=_Exchange,
        errors={401: "`invalid, expired, or already used exchange token`"},
    )
    async def exchange(self, request: web.Request) -> web.StreamResponse:
        """A new session for an exchange token: in a browser as a cookie, else in the answer."""
        desk = self._desk
        body = await body_of(request, _Exchange)
        in_browser, browser = is_browser(request), request.cookies.get(cookies.FLOW)
        fetched = await exchange.redeem(
            desk.pool, desk.sessions, body.exchange_token, browser, in_browser=in_browser
        )
        if fetched is None:
            raise Refused(401, "invalid, expired, or already used exchange token")
        if not in_browser or fetched.given.kind != Kind.BROWSER:
            return answer({"session_id": fetched.key.text})
        await desk.give_way(request, fetched)
        response = answer({"session_id": None})
        desk.cookies.give_session(response, fetched.key.text)
        return response

    async def _failed(self, request: web.Request, taken: Taken | None, reason: str) -> None:
        kind = None if taken is None else taken.kind
        log.info("a sign-in failed", reason=str(reason), kind=kind)
        await self._desk.note_failure(request, kind, str(reason))

    def _sign_in(self, reason: str, **query: str) -> str:
        return self._desk.config.page("/login", "/sign-in", {"error": str(reason)} | query)

    def _back(self, taken: Taken, reason: str) -> str:
        if taken.kind is FlowKind.SIGN_IN:
            return self._sign_in(reason)
        return self._desk.config.page(_PAGES[taken.kind], "/account", {"error": str(reason)})


@described("Where one could get an account", answer=account_shapes.PdsOptions)
async def pds_options(request: web.Request) -> web.StreamResponse:
    """Where somebody without an account could get one: we recommend nobody."""
    return answer({"enabled": False, "options": []})


def own_path(path: str | None) -> str | None:
    """The path, if it can only lead to a page of this origin."""
    if path is None or not path.startswith("/") or path[1:2] in ("/", "\\") or len(path) > 500:
        return None
    return path if path.isascii() and path.isprintable() else None


def _redirect(status: int, location: str) -> web.Response:
    # No-referrer: an exchange token in the address is nobody else's business.
    headers = {hdrs.LOCATION: location, hdrs.CACHE_CONTROL: "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=status, headers=headers)
