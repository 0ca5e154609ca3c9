"""People on their way to their authorization server and back, and what their grant becomes.

A flow belongs to the browser in which it began: a cookie says which that is, and its hash lies beside the
flow. So nobody can be brought to finish what somebody else began (no login CSRF). What a flow may become
also depends on who wished it: a link, a token and wider rights belong to somebody who is still signed in,
the last two to the same account.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from appview.auth import exchange, secret
from appview.auth.grant import Flow, Granted, Refusal, SignInFailed
from appview.auth.keyring import CannotOpen, KeyRing
from appview.auth.sessions import DAY_S, Place, Sessions
from indexer.forgetting import let_back
from storage import audit, flows, sessions, uploads
from storage.audit import Event
from storage.flows import FlowKind, NewFlow, TakenFlow
from storage.postgres import Pool
from storage.sessions import End, Kind

LIFE_S = 600.0


class Client(Protocol):
    """The part of the OAuth client that is needed here."""

    async def begin(self, identifier: str, scope: str, *, prompt: str | None = None) -> tuple[str, Flow]: ...
    async def finish(self, flow: Flow, params: Mapping[str, str]) -> Granted: ...


class OtherUser(Exception):
    """Somebody else came back than the one whose wish it was."""

    def __init__(self, kind: FlowKind) -> None:
        super().__init__(f"{kind} flow was started by a different user")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall come of a flow. `browser` None: it is bound to none, which only a token's may be."""

    kind: FlowKind
    browser: str | None
    session_id: int | None = None
    token_name: str | None = None
    token_days: int | None = None
    return_to: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A flow that came back into its own browser. It is forgotten: it cannot come back twice."""

    kind: FlowKind
    row: TakenFlow


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came of it: a session that waits to be fetched."""

    exchange_token: str
    is_artist: bool


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Flow).decode


class Flows:
    def __init__(self, pool: Pool, ring: KeyRing, client: Client, signed_in: Sessions) -> None:
        self._pool = pool
        self._ring = ring
        self._client = client
        self._sessions = signed_in

    async def begin(self, identifier: str, scope: str, wish: Wish, *, prompt: str | None = None) -> str:
        """The address to send the person to. Raises SignInFailed."""
        url, flow = await self._client.begin(identifier, scope, prompt=prompt)
        new = NewFlow(
            state_hash=secret.hashed(flow.state),
            kind=wish.kind,
            secret=self._ring.seal(_encode(flow)),
            browser_hash=None if wish.browser is None else secret.hashed(wish.browser),
            session_id=wish.session_id,
            token_name=wish.token_name,
            token_days=wish.token_days,
            return_to=wish.return_to,
        )
        async with self._pool.connection() as conn:
            await flows.add(conn, new, life_s=LIFE_S)
        return url

    async def take(self, state: str, browser: str | None) -> Taken:
        """The flow with this state, once. Raises SignInFailed (UNKNOWN_STATE, OTHER_BROWSER)."""
        async with self._pool.connection() as conn:
            row = await flows.take(conn, secret.hashed(state))
        if row is None:
            raise SignInFailed(Refusal.UNKNOWN_STATE, "never begun here, or come back before")
        if row.browser_hash is not None and (
            browser is None or not hmac.compare_digest(secret.hashed(browser), row.browser_hash)
        ):
            raise SignInFailed(Refusal.OTHER_BROWSER, "begun in another browser")
        return Taken(FlowKind(row.kind), row)

    async def finish(self, taken: Taken, params: Mapping[str, str], client: str | None) -> Arrived:
        """The session that came of it. Raises SignInFailed, OtherUser; then no grant is left."""
        row = taken.row
        if row.expired:
            raise SignInFailed(Refusal.EXPIRED, "it took longer than ten minutes")
        try:
            flow = _decode(self._ring.open(row.secret))
        except CannotOpen:
            raise SignInFailed(Refusal.EXPIRED, "the key that it was kept under is gone") from None
        try:
            granted = await self._client.finish(flow, params)
        except SignInFailed as failed:
            if failed.refusal is Refusal.WRONG_ACCOUNT and taken.kind in (FlowKind.TOKEN, FlowKind.SCOPE):
                raise OtherUser(taken.kind) from None
            raise
        try:
            return await self._settle(taken, granted, client)
        except (OtherUser, SignInFailed):
            await self._sessions.refuse(granted)
            raise

    async def _settle(self, taken: Taken, granted: Granted, client: str | None) -> Arrived:
        row, kind = taken.row, taken.kind
        async with self._pool.connection() as conn, conn.transaction():
            # Whoever is being forgotten is so before this, or this is seen by whoever forgets them.
            await uploads.lock(conn, granted.did)
            wisher = await self._sessions.wisher(conn, row.session_id)
            if kind is not FlowKind.SIGN_IN and wisher is None:
                raise SignInFailed(Refusal.EXPIRED, "whoever began it has signed out")
            same = wisher is not None and wisher.did == granted.did
            if kind in (FlowKind.TOKEN, FlowKind.SCOPE) and not same:
                raise OtherUser(kind)
            browser = None if wisher is None else wisher.browser
            if kind is FlowKind.TOKEN:
                life_s = None if row.token_days is None else row.token_days * DAY_S
                place = Place(Kind.TOKEN, life_s=life_s, name=row.token_name)
            else:
                place = Place(Kind.BROWSER, browser=None if kind is FlowKind.SIGN_IN else browser)
            id = await self._sessions.begin(conn, granted, place)
            if kind is FlowKind.SCOPE and row.session_id is not None:
                await self._sessions.end(conn, [row.session_id], End.REPLACED)
            await audit.add(conn, _EVENTS[kind], did=granted.did, session=id, client=client, **_detail(row))
            token = await exchange.issue(conn, id, row.browser_hash)
            arrived = Arrived(token, await sessions.is_artist(conn, granted.did))
            await let_back(conn, granted.did)
            return arrived


_EVENTS: Mapping[FlowKind, Event] = {
    FlowKind.SIGN_IN: Event.SIGNED_IN,
    FlowKind.LINK: Event.ACCOUNT_LINKED,
    FlowKind.TOKEN: Event.TOKEN_CREATED,
    FlowKind.SCOPE: Event.SCOPE_UPGRADED,
}


def _detail(row: TakenFlow) -> dict[str, str | int | None]:
    return {"name": row.token_name, "days": row.token_days} if row.kind == FlowKind.TOKEN else {}
