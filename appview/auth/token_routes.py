"""Developer tokens over REST: begin, list, revoke. Their key is shown once, by the exchange."""

from __future__ import annotations

import msgspec
from aiohttp import web

from appview.auth import tokens
from appview.auth.desk import Desk, SetOut
from appview.auth.flows import Wish
from appview.auth.tokens import BadToken, NoSuchToken
from appview.rest import account_shapes, shapes
from appview.rest.answers import Refused, answer, body_of, rest
from appview.rest.spec import Auth, described
from storage import sessions
from storage.flows import FlowKind
from storage.sessions import Kind


class _Start(msgspec.Struct):
    name: str | None = None
    expires_in_days: int | None = None


class TokenRoutes:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/auth/developer-token/start", rest(self.start))
        router.add_get("/auth/developer-tokens", rest(self.list))
        router.add_delete("/auth/developer-tokens/{prefix}", rest(self.revoke))

    @described(
        "Where a person allows a program to act for them",
        answer=account_shapes.AuthUrl,
        auth=Auth.SESSION,
        body=_Start,
        errors={400: "a lifetime or a name that is too long"},
    )
    async def start(self, request: web.Request) -> web.StreamResponse:
        """Where a person allows a program to act for them. The grant is the token's own."""
        body = await body_of(request, _Start)
        return self._desk.told(await self.start_as(request, body.name, body.expires_in_days))

    async def start_as(self, request: web.Request, name: str | None, wished_days: int | None) -> SetOut:
        desk = self._desk
        asked = await desk.asking(request)
        name = (name or "").strip() or None
        if name is not None and (len(name) > tokens.MAX_NAME or not name.isprintable()):
            text = f"Name should have at most {tokens.MAX_NAME} printable characters"
            raise Refused(422, [{"type": "value_error", "loc": ["body", "name"], "msg": text, "input": None}])
        try:
            days = tokens.life_days(wished_days)
        except BadToken as error:
            raise Refused(400, str(error)) from None
        if asked.session.kind == Kind.MINTED:
            raise Refused(400, "a minted token cannot create others")

        def wish(browser: str) -> Wish:
            # A program has no cookies: whoever it sends to the page must be the same account, and that is
            # enough.
            bound = browser if asked.by_cookie else None
            return Wish(FlowKind.TOKEN, bound, asked.session.id, token_name=name, token_days=days)

        return await desk.set_out(request, asked.session.did, wish)

    @described(
        "Developer tokens of whoever asks, by the first eight characters of their key",
        answer=account_shapes.DeveloperTokens,
        auth=Auth.SESSION,
    )
    async def list(self, request: web.Request) -> web.StreamResponse:
        session = (await self._desk.asking(request)).session
        async with self._desk.pool.connection() as conn:
            found = await sessions.tokens(conn, session.did)
        shown = [
            {
                "session_id": token.prefix,
                "name": token.name,
                "created_at": token.created_at.isoformat(),
                "expires_at": None if token.expires_at is None else token.expires_at.isoformat(),
            }
            for token in found
        ]
        return answer({"tokens": shown})

    @described(
        "Ends a developer token; the prefix is as long as it has to be",
        answer=shapes.Said,
        auth=Auth.SESSION,
        errors={400: "`ambiguous prefix - provide more characters`", 404: "`token not found`"},
    )
    async def revoke(self, request: web.Request) -> web.StreamResponse:
        return await self.revoke_as(request, request.match_info["prefix"])

    async def revoke_as(self, request: web.Request, prefix: str) -> web.StreamResponse:
        desk = self._desk
        session = (await desk.asking(request)).session
        desk.require_grant(session)
        client = desk.config.client_of(request)
        try:
            await tokens.revoke(desk.pool, desk.sessions, session.did, prefix, client)
        except NoSuchToken as error:
            raise Refused(404, str(error)) from None
        except BadToken as error:
            raise Refused(400, str(error)) from None
        return answer({"message": "token revoked successfully"})
