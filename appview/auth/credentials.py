"""What we hold for a session at its PDS, and its refresh: one at a time, whichever process wants it.

A refresh token is good once (rule O8, T36). So the contract of `refreshed`, which gives credentials newer
than those that were refused:

- One process asks the authorization server; whoever else wants the same waits and reads what came of it. The
  right to ask is a lease in the session's row, no lock: nobody holds a connection while the network is slow,
  and who loses theirs meanwhile keeps the right.
- Once asked, the answer is awaited and saved, whoever stops waiting for it.
- `invalid_grant` is believed after a look whether somebody else was faster.
- Who dies between the server's answer and the save leaves a lease, and a refresh token that was used. The
  next one takes the lease over, at once on the same machine, elsewhere once it has run out; is refused by the
  server, and ends the session as `refresh_lost`: the person is asked to sign in again.

Example: processes A and B meet version 3, expired. A takes the lease, B waits; A saves version 4; B reads it.

    CredentialsFailed
    ├── SessionEnded   sign in again: the session has ended, or nobody can open what we held for it
    ├── NoGrant        the session never had a grant: it was minted
    └── NotNow         the authorization server cannot be reached, or refuses for reasons of its own
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import msgspec
import psycopg
import structlog

from appview.auth.grant import Credentials, Refusal, SignInFailed
from appview.auth.keyring import CannotOpen, KeyRing
from storage import audit, sessions
from storage.audit import Event
from storage.postgres import Pool
from storage.sessions import Due, End, Held, Lease

log = structlog.get_logger()

LEASE_S = 60.0
ASK_S = 50.0  # less than the lease, so that its holder has ended before it does
SAVE_S = 60.0  # how long a save is tried while the database is away
GIVE_BACK_EVERY_S = 300.0
IDLE_S = 7 * 86400.0
_POLL_S = (0.05, 0.15)
_SETTLE_S = 1.0
_KEY_LOST = "key_lost"

# What ends a grant for good. Anything else may be different next time.
_FINAL = frozenset({Refusal.GRANT_GONE, Refusal.WRONG_ACCOUNT, Refusal.WRONG_SCOPE})


class CredentialsFailed(Exception):
    """There is nothing to act with."""


class SessionEnded(CredentialsFailed):
    """The person must sign in again; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the session has ended: {reason}")
        self.reason = reason


class NoGrant(CredentialsFailed):
    """The session never had a grant."""


class NotNow(CredentialsFailed):
    """The authorization server gave no new credentials; the old ones are still there."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"no refresh: {refusal}")
        self.refusal = refusal


class Server(Protocol):
    """The part of the OAuth client that is needed here."""

    async def refresh(self, credentials: Credentials) -> Credentials: ...
    async def revoke(self, credentials: Credentials) -> None: ...


@dataclass(frozen=True, slots=True)
class Grant:
    """Credentials of one version."""

    version: int
    credentials: Credentials = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Lost:
    reason: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Credentials).decode


class CredentialStore:
    """Use as `async with`: leaving it waits for the refreshes that are under way."""

    def __init__(self, pool: Pool, ring: KeyRing, server: Server, *, lease_s: float = LEASE_S) -> None:
        self._pool = pool
        self._ring = ring
        self._server = server
        self._lease_s = lease_s
        self._running: dict[tuple[int, int], asyncio.Task[Grant | _Lost | Refusal]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running:
            await asyncio.wait(self._running.values())

    def sealed(self, credentials: Credentials) -> bytes:
        """As they are stored."""
        return self._ring.seal(_encode(credentials))

    async def read(self, session_id: int) -> Grant:
        """What we hold. Raises SessionEnded, NoGrant."""
        async with self._pool.connection() as conn:
            held = await sessions.read(conn, session_id)
        return self._opened(session_id, held)

    async def refreshed(self, session_id: int, version: int) -> Grant:
        """Credentials of another version than this, which was refused. Raises SessionEnded, NoGrant,
        NotNow."""
        key = (session_id, version)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._refresh(session_id, version), name=f"refresh {session_id}")
            self._running[key] = task
            task.add_done_callback(lambda task: self._over(key, task))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, _Lost):
            raise SessionEnded(outcome.reason)
        if isinstance(outcome, Refusal):
            raise NotNow(outcome)
        return outcome

    def _over(self, key: tuple[int, int], task: asyncio.Task[Grant | _Lost | Refusal]) -> None:
        del self._running[key]
        error = None if task.cancelled() else task.exception()
        if error is not None:  # whoever wanted it may have left
            log.error("a refresh broke off", session=key[0], reason=f"{type(error).__name__}: {error}")

    async def keep(self, session_id: int, version: int, credentials: Credentials) -> None:
        """Remember newer nonces of the same grant."""
        async with self._pool.connection() as conn:
            await sessions.keep(conn, session_id, version, self.sealed(credentials))

    async def keep_alive(self, *, limit: int = 5) -> int:
        """Refresh grants that nobody used for a week, since those of a client without a key last for two; how
        many were tried. Who only reads would lose theirs otherwise."""
        async with self._pool.connection() as conn:
            idle = await sessions.idle(conn, idle_s=IDLE_S, limit=limit)

        async def refresh(session_id: int, version: int) -> None:
            with suppress(CredentialsFailed):  # told in the log, or by the session's end
                await self.refreshed(session_id, version)

        async with asyncio.TaskGroup() as tasks:
            for session_id, version in idle:
                tasks.create_task(refresh(session_id, version))
        return len(idle)

    async def give_back(self, ids: Sequence[int] | None = None, *, limit: int = 20) -> int:
        """Revoke the grants of ended sessions, of these or of all, at their servers; how many were tried.
        What cannot be reached is tried again after a while, for a day."""
        async with self._pool.connection() as conn:
            due = await sessions.take_ended(conn, ids, limit=limit, lease_s=GIVE_BACK_EVERY_S)
        async with asyncio.TaskGroup() as tasks:
            for one in due:
                tasks.create_task(self._give_back(one))
        return len(due)

    async def _refresh(self, session_id: int, version: int) -> Grant | _Lost | Refusal:
        while True:
            async with self._pool.connection() as conn:
                lease = await sessions.lease(conn, session_id, version, lease_s=self._lease_s)
                held = None if lease else await sessions.read(conn, session_id)
            if lease is not None:
                return await self._ask(session_id, version, lease)
            try:
                grant = self._opened(session_id, held)
            except SessionEnded as ended:
                return _Lost(ended.reason)
            if grant.version != version:
                return grant
            await asyncio.sleep(random.uniform(*_POLL_S))

    async def _ask(self, session_id: int, version: int, lease: Lease) -> Grant | _Lost | Refusal:
        try:
            old = _decode(self._ring.open(lease.credentials))
            async with asyncio.timeout(ASK_S):
                new = await self._server.refresh(old)
        except SignInFailed as failed:
            if failed.refusal in _FINAL:
                return await self._gone(session_id, version, lease)
            await self._release(session_id, version, lease)
            log.warning("no refresh", session=session_id, refusal=failed.refusal, detail=failed.detail)
            return failed.refusal
        except TimeoutError:
            await self._release(session_id, version, lease)
            log.warning("no refresh", session=session_id, refusal=Refusal.UNREACHABLE)
            return Refusal.UNREACHABLE
        except CannotOpen:
            await self._release(session_id, version, lease)
            return _Lost(_KEY_LOST)
        if await self._saved(session_id, version, self.sealed(new)):
            return Grant(version + 1, new)
        return await self.read(session_id)

    async def _saved(self, session_id: int, version: int, sealed: bytes) -> bool:
        """Save what nobody will give us a second time, also while the database is away for a moment."""
        deadline = asyncio.get_running_loop().time() + SAVE_S
        while True:
            try:
                async with self._pool.connection() as conn:
                    return await sessions.save(conn, session_id, version, sealed)
            except psycopg.OperationalError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                log.warning("cannot save a refresh, trying again", session=session_id, reason=str(error))
                await asyncio.sleep(0.5)

    async def _gone(self, session_id: int, version: int, lease: Lease) -> Grant | _Lost:
        """The server does not know the grant: because somebody else was faster, or because it is so."""
        if lease.lapsed:
            await asyncio.sleep(_SETTLE_S)  # whoever had the lease before may be slow, not dead
        reason = End.REFRESH_LOST if lease.lapsed else End.GRANT_GONE
        async with self._pool.connection() as conn, conn.transaction():
            did = await sessions.lose(conn, session_id, version, reason)
            if did is not None:
                await audit.add(conn, Event.SESSION_ENDED, did=did, session=session_id, reason=reason)
        if did is not None:
            log.info("a session ended", session=session_id, reason=reason)
            return _Lost(reason)
        try:
            return await self.read(session_id)
        except SessionEnded as ended:
            return _Lost(ended.reason)

    async def _release(self, session_id: int, version: int, lease: Lease) -> None:
        async with self._pool.connection() as conn:
            await sessions.release(conn, session_id, version, lease.lease_until)

    async def _give_back(self, due: Due) -> None:
        try:
            async with asyncio.timeout(ASK_S):
                await self._server.revoke(_decode(self._ring.open(due.credentials)))
        except (SignInFailed, TimeoutError) as error:
            if not due.late:
                log.info("a grant could not be given back yet", session=due.id, reason=str(error))
                return
        except CannotOpen:
            log.warning("a grant that no key opens is dropped", session=due.id)
        async with self._pool.connection() as conn:
            await sessions.forget(conn, due.id, due.version)

    def _opened(self, session_id: int, held: Held | None) -> Grant:
        if held is None:
            raise SessionEnded("unknown")
        if held.ended:
            raise SessionEnded(held.end_reason or "ended")
        if held.credentials is None:
            raise NoGrant("this session was made without a grant")
        try:
            return Grant(held.version, _decode(self._ring.open(held.credentials)))
        except CannotOpen:
            # It stays as it is: the key may only be missing here.
            log.warning("no key opens the credentials of a session", session=session_id)
            raise SessionEnded(_KEY_LOST) from None
