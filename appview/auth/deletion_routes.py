"""`DELETE /account/`: a person takes everything back that they gave us."""

from __future__ import annotations

import msgspec
from aiohttp import web

from appview.auth.deletion import Deletions
from appview.auth.desk import HANDLE_INVALID, Desk
from appview.rest import account_shapes
from appview.rest.answers import Refused, answer, body_of, rest
from appview.rest.spec import Auth, described
from indexer.deletion import Step
from storage.deletions import Outcome
from storage.viewers import Session

COUNTS = ("tracks", "albums", "likes", "comments", "r2_objects", "atproto_records")
ANSWER_S = 20.0  # that a person waits; it goes on without them


class _Delete(msgspec.Struct):
    confirmation: str
    delete_atproto_records: bool = False


class DeletionRoutes:
    def __init__(self, desk: Desk, deletions: Deletions, *, answer_s: float = ANSWER_S) -> None:
        self._desk = desk
        self._deletions = deletions
        self._answer_s = answer_s

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_delete("/account/", rest(self.delete))
        router.add_delete("/account", rest(self.redirect))

    async def redirect(self, _: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("/account/")

    @described(
        "Deletes the account here, and if wanted its records on the PDS",
        answer=account_shapes.Deleted,
        auth=Auth.SESSION,
        body=_Delete,
        errors={400: "`confirmation must match your handle: …`"},
    )
    async def delete(self, request: web.Request) -> web.StreamResponse:
        """What was deleted, in numbers. `finished` false: the rest is done as soon as servers let us. The
        account is out of sight in any case, and the session ends. `warnings` are for the person."""
        wish = await body_of(request, _Delete)
        asked = await self._desk.asking(request)
        outcome = await self.delete_as(asked.session, wish.confirmation, wish.delete_atproto_records)
        response = answer(
            {
                "deleted": {what: outcome.counts.get(what, 0) for what in COUNTS},
                "finished": is_finished(outcome),
                "warnings": list(outcome.warnings),
            }
        )
        if asked.by_cookie:
            self._desk.cookies.take_session(response)
        return response

    async def delete_as(self, session: Session, confirmation: str, remove_records: bool) -> Outcome:
        """What came of it so far. Raises Refused."""
        self._desk.require_grant(session)
        # Without a handle that holds, nobody else's word stands for the account but its DID.
        name = session.did if session.handle in (None, HANDLE_INVALID) else session.handle
        if confirmation.strip().removeprefix("@").lower() != name.lower():
            raise Refused(400, f"confirmation must match your handle: {name}")
        if remove_records:
            self._desk.require_scope(session)
        id = await self._deletions.ask(session.did, session.id, remove_records=remove_records)
        return await self._deletions.outcome(id, within_s=self._answer_s)


def is_finished(outcome: Outcome) -> bool:
    """Whether nothing is left to be seen of it; files may still be written anew."""
    return outcome.step in (Step.FILES, Step.DONE)
