"""What the operator may ask of a service that runs, with the secret of `PLYR_ADMIN_TOKEN`.

    GET  /admin/audit?did=&before=&limit=    what happened to people's access, newest first
    POST /admin/sessions/end  {"did": …}     every session and token of an account ends

Without the secret set both are closed.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from appview.auth.desk import Desk
from appview.guards import GATE
from appview.rest import account_shapes
from appview.rest.answers import Refused, answer, body_of, rest
from appview.rest.spec import Auth, described, query_of
from lexicons.syntax import Did, is_did
from storage import audit, sessions
from storage.audit import Event
from storage.sessions import End

MOST = 500


class _Asked(msgspec.Struct):
    did: str | None = None
    before: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 50


class _Whose(msgspec.Struct):
    did: str


class OperatorRoutes:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/admin/audit", rest(self.audit))
        router.add_post("/admin/sessions/end", rest(self.end_sessions))

    @described(
        "What happened to people's access, newest first; goes on with `before`",
        answer=account_shapes.AuditLog,
        auth=Auth.OPERATOR,
        query=_Asked,
        errors={400: "`did should be a DID`"},
    )
    async def audit(self, request: web.Request) -> web.StreamResponse:
        request.app[GATE].require_admin(request)
        asked = query_of(request, _Asked)
        did = None if asked.did is None else _did(asked.did)
        async with self._desk.pool.connection() as conn:
            noted = await audit.listed(conn, did=did, before=asked.before, limit=asked.limit)
        return answer({"events": noted, "before": noted[-1].id if len(noted) == asked.limit else None})

    @described(
        "Ends every session and token of an account; its grants are given back",
        answer=account_shapes.Ended,
        auth=Auth.OPERATOR,
        body=_Whose,
        errors={400: "`did should be a DID`"},
    )
    async def end_sessions(self, request: web.Request) -> web.StreamResponse:
        """Whoever has a key of this account's has none from now on; its grants are given back soon."""
        request.app[GATE].require_admin(request)
        did = _did((await body_of(request, _Whose)).did)
        async with self._desk.pool.connection() as conn, conn.transaction():
            ids = await sessions.of_account(conn, did)
            ended = await self._desk.sessions.end(conn, ids, End.OPERATOR)
            await audit.add(conn, Event.SESSIONS_ENDED, did=did, client="operator", sessions=ended)
        return answer({"ended": ended})


def _did(text: str) -> Did:
    if not is_did(text):
        raise Refused(400, "did should be a DID")
    return text
