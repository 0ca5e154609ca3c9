"""The pages of whoever signs in: the way in, their account, a new token. Plain forms, no scripts.

Each form is answered by the code that answers the frontend's JSON; here its answer becomes the next page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from urllib.parse import urlencode

from aiohttp import hdrs, web

from appview.auth import exchange, scopes
from appview.auth.account_routes import Accounts
from appview.auth.assembly import Auth
from appview.auth.deletion_routes import DeletionRoutes, is_finished
from appview.auth.desk import HANDLE_INVALID, Asking, SetOut
from appview.auth.routes import own_path
from appview.auth.token_routes import TokenRoutes
from appview.clients import origin_of
from appview.rest.answers import Refused, rest
from appview.rest.form import Form
from appview.web.problems import Problem, problem_of, reason
from appview.web.site import Site
from lexicons.catalog import Collections
from lexicons.syntax import Did
from storage import sessions
from storage.sessions import Kind, Token
from storage.viewers import Session

Texts = Mapping[str, str]
Deed = Callable[[web.Request, Texts], Awaitable[web.StreamResponse | SetOut]]

_NOTICES = {
    "signed-out": "You are signed out.",
    "revoked": "The token is revoked: it opens nothing any more.",
    "account_added": "The account was added.",
    "scope_upgraded": "Your server lets plyr do more now.",
}


class AccountPages:
    """`/sign-in` and `/account`, where no other frontend has them."""

    def __init__(
        self,
        auth: Auth,
        site: Site,
        collections: Collections,
        *,
        can_upload: bool = False,
        moderators: frozenset[Did] = frozenset(),
    ) -> None:
        desk = self._desk = auth.desk
        self._deletion = DeletionRoutes(desk, auth.deletions)
        self._accounts = Accounts(desk)
        self._tokens = TokenRoutes(desk)
        self._site = site
        self._collections = collections
        self._can_upload = can_upload
        self._moderators = moderators
        # A form may lead to anybody's authorization server: browsers look at redirects after it, too.
        local = "" if desk.config.secure else " http://localhost:* http://127.0.0.1:*"
        self._form_action = f"'self' https:{local}"

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/sign-in", rest(self.sign_in))
        router.add_get("/account", rest(self.account))
        for path, deed, notice in (
            ("sign-out", self._sign_out, "/sign-in?done=signed-out"),
            ("sign-out-everywhere", self._sign_out_everywhere, "/sign-in?done=signed-out"),
            ("switch", self._switch, "/account"),
            ("add", self._add, "/account"),
            ("allow", self._allow, "/account"),
            ("tokens", self._make_token, "/account"),
            ("tokens/revoke", self._revoke_token, "/account?done=revoked"),
            ("delete", self._delete, ""),
        ):
            router.add_post(f"/account/{path}", rest(self._posted(deed, notice)))
            router.add_get(f"/account/{path}", _back)  # of a form's answer, only the address is left

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        if there := self._desk.config.elsewhere(request):
            return _next(there)  # from here its form would come from another site
        values = {
            "handle": request.query.get("handle", "")[:2048],
            "return_to": own_path(request.query.get("return_to")),
            "problem": problem_of(request.query.get("error", "")),
            "notice": _NOTICES.get(request.query.get("done", "")),
        }
        return self._site.page("sign_in.html", values, form_action=self._form_action)

    async def account(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = await self._asking(request)
        except Refused as refused:
            # Whoever comes back from a server with a word of it hears that, signed in or not.
            ended = "session_expired" if refused.detail == "session_expired" else None
            error = request.query.get("error") or ended
            raise web.HTTPSeeOther(
                f"/sign-in?{urlencode({'error': error})}" if error else "/sign-in"
            ) from None
        if request.query.get("dev_token"):
            return await self._new_token(request, asked.session)
        problem = problem_of(request.query.get("error", ""))
        done = next((name for name in _NOTICES if name in request.query), request.query.get("done", ""))
        page = await self._shown(asked.session, problem, _NOTICES.get(done))
        self._desk.slide(request, page, asked)
        return page

    async def _asking(self, request: web.Request) -> Asking:
        """Whoever signed in in this browser. Raises Refused 401."""
        asked = await self._desk.asking(request)
        if not asked.by_cookie:
            raise Refused(401, "not authenticated - login required")
        return asked

    async def _shown(
        self, session: Session, problem: Problem | None, notice: str | None, status: int = 200
    ) -> web.Response:
        async with self._desk.pool.connection() as conn:
            tokens = await sessions.tokens(conn, session.did)
        beside = [each for each in await self._desk.linked(session) if each.did != session.did]
        values = {
            "problem": problem,
            "notice": notice,
            "me": {"handle": session.handle or HANDLE_INVALID, "did": session.did},
            "grants": self._grants(session),
            "may_all": self._desk.allows_all(session),
            "linked": [{"did": each.did, "handle": each.handle or HANDLE_INVALID} for each in beside],
            "tokens": [_token(token) for token in tokens],
            "can_upload": self._can_upload,
            "can_judge": session.did in self._moderators,
        }
        return self._site.page("account.html", values, status=status, form_action=self._form_action)

    def _grants(self, session: Session) -> list[str]:
        """What the grant lets us write, in a person's words."""
        own = self._collections
        kinds = {
            own.track: "tracks",
            own.like: "likes",
            own.comment: "comments",
            own.list: "albums and playlists",
            own.profile: "your plyr profile",
        }
        definitions = self._desk.config.definitions
        found = [
            word for nsid, word in kinds.items() if scopes.covers(session.scope, f"repo:{nsid}", definitions)
        ]
        return found or ["nothing"]

    async def _new_token(self, request: web.Request, session: Session) -> web.Response:
        """A developer token, the one time that it can be shown, and to nobody but whose it is."""
        fetched = await exchange.redeem(
            self._desk.pool,
            self._desk.sessions,
            request.query.get("exchange_token", ""),
            None,
            in_browser=False,
        )
        if fetched is None or (fetched.given.kind, fetched.given.did) != (Kind.TOKEN, session.did):
            return await self._shown(session, problem_of("exchange"), None)
        base = self._desk.config.origin or origin_of(request)
        return self._site.page("token.html", {"token": fetched.key.text, "base": base})

    # -- forms

    def _posted(self, deed: Deed, done: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                asked = await self._asking(request)
            except Refused:
                raise web.HTTPSeeOther("/sign-in?error=session_expired") from None
            try:
                came = await deed(request, await Form.texts(request))
            except Refused as refused:
                problem = Problem("That did not work.", reason(refused))
                return await self._shown(asked.session, problem, None, status=refused.status)
            if isinstance(came, web.Response) and came.content_type == "text/html":
                return came
            if isinstance(came, SetOut):
                response = _next(came.url)
                self._desk.cookies.bind(response, came.browser)
                return response
            return _next(done, came)

        return handle

    async def _sign_out(self, request: web.Request, form: Texts) -> web.StreamResponse:
        return await self._accounts.leave_all(request, everywhere=False)

    async def _sign_out_everywhere(self, request: web.Request, form: Texts) -> web.StreamResponse:
        return await self._accounts.leave_all(request, everywhere=True)

    async def _switch(self, request: web.Request, form: Texts) -> web.StreamResponse:
        return await self._accounts.switch_to(request, form.get("did", ""))

    async def _add(self, request: web.Request, form: Texts) -> SetOut:
        return await self._accounts.add_as(request, form.get("handle", ""))

    async def _allow(self, request: web.Request, form: Texts) -> SetOut:
        return await self._accounts.upgrade_as(request)

    async def _make_token(self, request: web.Request, form: Texts) -> SetOut:
        days = form.get("days", "")
        if not (days.isascii() and days.isdecimal() and len(days) < 5):
            raise Refused(400, "how long shall it live?")
        return await self._tokens.start_as(request, form.get("name", ""), int(days))

    async def _delete(self, request: web.Request, form: Texts) -> web.StreamResponse:
        session = (await self._asking(request)).session
        remove_records = form.get("remove_records") == "yes"
        outcome = await self._deletion.delete_as(session, form.get("confirmation", ""), remove_records)
        shown = {
            "tracks": outcome.counts.get("tracks", 0),
            "albums and playlists": outcome.counts.get("albums", 0),
            "likes": outcome.counts.get("likes", 0),
            "comments": outcome.counts.get("comments", 0),
            "records on your server": outcome.counts.get("atproto_records", 0),
        }
        values = {
            "counts": [(what, f"{count:,}") for what, count in shown.items()],
            "finished": is_finished(outcome),
            "warnings": list(outcome.warnings),
        }
        response = self._site.page("deleted.html", values)
        self._desk.cookies.take_session(response)
        return response

    async def _revoke_token(self, request: web.Request, form: Texts) -> web.StreamResponse:
        return await self._tokens.revoke_as(request, form.get("prefix", ""))


async def _back(_: web.Request) -> web.StreamResponse:
    raise web.HTTPSeeOther("/account")


def _next(location: str, made: web.StreamResponse | None = None) -> web.Response:
    """The page after a form, with the cookies that the answer would have set."""
    response = web.Response(status=303, headers={hdrs.LOCATION: location, hdrs.CACHE_CONTROL: "no-store"})
    if made is not None:
        response.cookies.update(made.cookies)
    return response


def _token(token: Token) -> Mapping[str, str]:
    return {
        "name": token.name or "without a name",
        "prefix": token.prefix,
        "made": _day(token.created_at),
        "ends": "never" if token.expires_at is None else _day(token.expires_at),
    }


def _day(time: datetime) -> str:
    return f"{time.day} {time:%b %Y}"
