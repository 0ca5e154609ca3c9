"""Whoever is signed in: their accounts in this browser, more rights for one, and the way out."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from appview.auth.desk import HANDLE_INVALID, Desk, SetOut
from appview.auth.flows import Wish
from appview.rest import account_shapes, shapes
from appview.rest.answers import Refused, answer, body_of, rest
from appview.rest.spec import Auth, described
from storage import sessions
from storage.audit import Event
from storage.flows import FlowKind
from storage.sessions import Account, End, Kind


class _AddAccount(msgspec.Struct):
    handle: str


class _Switch(msgspec.Struct):
    target_did: str


class _Logout(msgspec.Struct):
    switch_to: str | None = None


class _LogoutAll(msgspec.Struct):
    everywhere: bool = False


class Accounts:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/auth/me", rest(self.me))
        router.add_post("/auth/logout", rest(self.logout))
        router.add_post("/auth/logout-all", rest(self.logout_all))
        router.add_post("/auth/add-account/start", rest(self.add))
        router.add_post("/auth/switch-account", rest(self.switch))
        router.add_post("/auth/scope-upgrade/start", rest(self.upgrade))

    @described("Who asks", answer=account_shapes.Me, auth=Auth.SESSION)
    async def me(self, request: web.Request) -> web.StreamResponse:
        """Who asks, and the accounts of their browser if there is more than one."""
        asked = await self._desk.asking(request)
        session = asked.session
        self._desk.require_scope(session)
        beside = await self._desk.linked(session)
        response = answer(
            {
                "did": session.did,
                "handle": session.handle or HANDLE_INVALID,
                "linked_accounts": [
                    {"did": each.did, "handle": _handle(each), "avatar_url": each.avatar}
                    for each in beside
                    if len(beside) > 1
                ],
                "enabled_flags": [],
                "permissioned_spaces": {"supported": False, "granted": False, "reader": False},
            }
        )
        self._desk.slide(request, response, asked)
        return response

    @described(
        "Ends all that this browser has, or one account of it and goes on as another",
        answer=dict[str, Any],
        auth=Auth.SESSION,
        query=_Logout,
        errors={400: "the account to go on as is not linked"},
    )
    async def logout(self, request: web.Request) -> web.StreamResponse:
        """End all that this browser has; with `switch_to` only this account, and go on as that one."""
        target_did = request.query.get("switch_to")
        if target_did:
            return await self._leave(request, target_did)
        desk = self._desk
        asked = await desk.asking(request)
        async with desk.pool.connection() as conn, conn.transaction():
            ids = await sessions.of_browser(conn, asked.session.browser)
            await desk.sessions.end(conn, ids, End.SIGNED_OUT)
            await desk.note(conn, request, Event.SIGNED_OUT, asked.session)
        response = answer({"message": "logged out successfully"})
        if asked.by_cookie:
            desk.cookies.take_session(response)
        return response

    async def _leave(self, request: web.Request, target_did: str) -> web.StreamResponse:
        desk = self._desk
        asked = await desk.asking(request)
        target = _find(await desk.linked(asked.session), target_did)
        if target is None:
            raise Refused(400, "target account not in session group")
        if target.did == asked.session.did:
            raise Refused(400, "cannot switch to current account")
        async with desk.pool.connection() as conn, conn.transaction():
            given = await desk.sessions.give(conn, target.id)
            if given is None:
                raise Refused(400, "target account not in session group")
            await desk.sessions.end(conn, [asked.session.id], End.SIGNED_OUT)
            await desk.note(conn, request, Event.SIGNED_OUT, asked.session, to=target.did)
        told = {"switched_to": {"did": target.did, "handle": _handle(target)}}
        if not asked.by_cookie:
            return answer(told | {"session_id": given[0].text})
        response = answer(told)
        desk.cookies.give_session(response, given[0].text)
        return response

    @described(
        "Ends the sessions of all accounts of this browser, or of all browsers",
        answer=shapes.Said,
        auth=Auth.SESSION,
        query=_LogoutAll,
    )
    async def logout_all(self, request: web.Request) -> web.StreamResponse:
        """End the sessions of every account of this browser; with `everywhere=true` in all browsers.
        Developer tokens stay."""
        return await self.leave_all(request, everywhere=request.query.get("everywhere") == "true")

    async def leave_all(self, request: web.Request, *, everywhere: bool) -> web.StreamResponse:
        desk = self._desk
        asked = await desk.asking(request)
        if everywhere:
            desk.require_grant(asked.session)
        browser = asked.session.browser
        async with desk.pool.connection() as conn, conn.transaction():
            ids = set(await sessions.of_browser(conn, browser))
            if everywhere:
                dids = {asked.session.did, *(each.did for each in await sessions.linked(conn, browser))}
                ids.update(await sessions.browsers_of(conn, sorted(dids)))
            ended = await desk.sessions.end(conn, sorted(ids), End.SIGNED_OUT)
            await desk.note(conn, request, Event.SIGNED_OUT, asked.session, sessions=ended)
        response = answer({"message": "all accounts logged out"})
        if asked.by_cookie:
            desk.cookies.take_session(response)
        return response

    @described(
        "Where another account of this browser signs in",
        answer=account_shapes.AuthUrl,
        auth=Auth.SESSION,
        body=_AddAccount,
        errors={400: "`you're already logged into this account`"},
    )
    async def add(self, request: web.Request) -> web.StreamResponse:
        """Where another account of this browser signs in."""
        handle = (await body_of(request, _AddAccount)).handle
        return self._desk.told(await self.add_as(request, handle))

    async def add_as(self, request: web.Request, handle: str) -> SetOut:
        desk, handle = self._desk, handle.strip()
        session = (await desk.asking(request)).session
        if session.kind != Kind.BROWSER:
            raise Refused(400, "only a browser's session can have linked accounts")
        beside = await desk.linked(session)
        if handle in {each.did for each in beside} or handle.lower() in {_handle(each) for each in beside}:
            raise Refused(400, "you're already logged into this account")
        return await desk.set_out(
            request, handle, lambda browser: Wish(FlowKind.LINK, browser, session.id), prompt="login"
        )

    @described(
        "Go on as another account of this browser",
        answer=account_shapes.Switched,
        auth=Auth.SESSION,
        body=_Switch,
        errors={400: "there is nothing to switch to", 404: "`target account not found in session group`"},
    )
    async def switch(self, request: web.Request) -> web.StreamResponse:
        """Go on as another account of this browser. Its session gets a new key, which a cookie's owner is not
        told."""
        return await self.switch_to(request, (await body_of(request, _Switch)).target_did)

    async def switch_to(self, request: web.Request, target_did: str) -> web.StreamResponse:
        desk = self._desk
        asked = await desk.asking(request)
        beside = await desk.linked(asked.session)
        if len(beside) < 2:
            raise Refused(400, "no linked accounts - use add-account to link accounts first")
        target = _find(beside, target_did)
        if target is None:
            raise Refused(404, "target account not found in session group")
        if target.did == asked.session.did:
            raise Refused(400, "already logged in as this account")
        async with desk.pool.connection() as conn, conn.transaction():
            given = await desk.sessions.give(conn, target.id)
            if given is None:
                raise Refused(404, "target account not found in session group")
            await desk.note(conn, request, Event.ACCOUNT_SWITCHED, asked.session, to=target.did)
        key = given[0]
        shown = key.prefix if asked.by_cookie else key.text
        response = answer({"did": target.did, "handle": _handle(target), "session_id": shown})
        if asked.by_cookie:
            desk.cookies.give_session(response, key.text)
        return response

    @described(
        "Where the account allows what its session may not do yet",
        answer=account_shapes.AuthUrl,
        auth=Auth.SESSION,
        errors={400: "a developer token cannot be upgraded"},
    )
    async def upgrade(self, request: web.Request) -> web.StreamResponse:
        """Where the same account allows what its session may not do yet."""
        return self._desk.told(await self.upgrade_as(request))

    async def upgrade_as(self, request: web.Request) -> SetOut:
        desk = self._desk
        session = (await desk.asking(request)).session
        if session.kind != Kind.BROWSER:
            raise Refused(400, "a developer token cannot be upgraded - create a new one")
        return await desk.set_out(
            request, session.did, lambda browser: Wish(FlowKind.SCOPE, browser, session.id)
        )


def _find(accounts: list[Account], did: str) -> Account | None:
    return next((each for each in accounts if each.did == did), None)


def _handle(account: Account) -> str:
    return account.handle or HANDLE_INVALID
