"""Who is signed in: sessions are found by their key, begin with a grant, and end for a reason.

A session that has ended is refused by every process from then on: each look-up asks the database, on the
pipelined connections. That it is in use is written down once an hour at most, and not while anybody waits.
Grants of ended sessions are given back to their servers by the same loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import psycopg
import structlog

from appview.auth import secret
from appview.auth.ahead import Ahead, Reading
from appview.auth.credentials import CredentialStore
from appview.auth.grant import Granted
from appview.auth.proviso import Mistaken, Proviso
from appview.auth.secret import Key
from appview.viewer import Viewer
from lexicons.syntax import Rev
from storage import audit, exchange, flows, sessions, viewers
from storage.postgres import Connection, Pool
from storage.reader import Reads, Rows
from storage.sessions import SLIDE_S, End, Given, Kind, NewSession, Wisher
from storage.viewers import Holder, Session

log = structlog.get_logger()

T = TypeVar("T")
SWEEP_EVERY_S = 60.0
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a new session belongs: its kind, beside which one it is, and how long it lives."""

    kind: Kind
    browser: int | None = None
    life_s: float | None = SLIDE_S
    name: str | None = None


class Sessions:
    """`run` belongs into a task of the owner's."""

    def __init__(self, pool: Pool, reads: Reads, store: CredentialStore) -> None:
        self._pool = pool
        self._reads = reads
        self._store = store
        self._ahead = Ahead(reads)
        self._stale: set[int] = set()
        self._wake = asyncio.Event()
        self._sweep = False

    async def viewer(self, token: str) -> Viewer | None:
        """Whose key this is, if it opens anything. One prepared statement."""
        if not secret.is_one(token):
            return None
        digest = secret.hashed(token)
        found = await viewers.viewer(self._reads, digest)
        if found is None:
            return None
        if found.stale:
            self._touch(found.session_id)
        self._ahead.note(digest, found.did, found.session_id)
        return Viewer(found.did, found.rev, found.session_id)

    def presumed(self, token: str) -> Viewer | None:
        """Whose key it was the last time, with the proviso that it still is: else that raises Mistaken, and
        forgets them. None: nobody has shown it; ask `viewer`."""
        if not secret.is_one(token):
            return None
        digest = secret.hashed(token)
        known = self._ahead.known(digest)
        if known is None:
            return None

        def rev_of(rows: Rows) -> Rev | None:
            found = viewers.viewer_of(rows)
            if found is None or (found.did, found.session_id) != known:
                self._ahead.forget(digest)
                raise Mistaken
            if found.stale:
                self._touch(found.session_id)
            return found.rev

        proviso = Proviso(self._reads, self._reads, viewers.asking_viewer(digest), rev_of)
        return Viewer(known[0], session=known[1], proviso=proviso)

    async def find(self, token: str) -> Session | None:
        """The session with this key, also one that has ended."""
        if not secret.is_one(token):
            return None
        digest = secret.hashed(token)
        found = await viewers.session(self._reads, digest)
        if found is not None and found.ended is None:
            if found.stale:
                self._touch(found.id)
            self._ahead.note(digest, found.did, found.id)
        return found

    async def read(self, token: str, reading: Reading[T]) -> tuple[Holder, T] | None:
        """What is read for whoever has this key, in the same exchange with the database as whose it is. None
        where that cannot be: ask whose it is."""
        found = await self._ahead.read(secret.hashed(token), reading)
        if found is not None and found[0].stale:
            self._touch(found[0].session_id)
        return found

    async def begin(self, conn: Connection, granted: Granted, place: Place) -> int:
        """A new session for a grant. Nobody has its key yet. Who was signed in with the same account in the
        same browser gives way."""
        if place.browser is not None and place.kind is Kind.BROWSER:
            beside = await sessions.linked(conn, place.browser)
            await self.end(conn, [each.id for each in beside if each.did == granted.did], End.REPLACED)
        return await sessions.add(
            conn,
            NewSession(
                kind=place.kind,
                did=granted.did,
                handle=granted.handle,
                scope=granted.credentials.scope,
                issuer=granted.credentials.issuer,
                credentials=self._store.sealed(granted.credentials),
                life_s=place.life_s,
                browser=place.browser,
                name=place.name,
            ),
        )

    async def refuse(self, granted: Granted) -> None:
        """Give back a grant that must not become a session."""
        async with self._pool.connection() as conn, conn.transaction():
            id = await self.begin(conn, granted, Place(Kind.BROWSER))
            await self.end(conn, [id], End.REFUSED)

    async def give(self, conn: Connection, id: int) -> tuple[Key, Given] | None:
        """A new key for the session, in the place of the one that it had; None if it has ended."""
        key = Key(secret.fresh())
        given = await sessions.give(conn, id, key.digest, key.prefix)
        return None if given is None else (key, given)

    async def end(self, conn: Connection, ids: Sequence[int], reason: End) -> int:
        """Refused from here on, by every process, and given back soon. How many were still open."""
        count = await sessions.end(conn, ids, reason) if ids else 0
        if count:
            self._sweep = True
            self._wake.set()
        return count

    async def wisher(self, conn: Connection, id: int | None) -> Wisher | None:
        """Who had a wish, if they are still signed in."""
        return None if id is None else await sessions.wisher(conn, id)

    async def run(self) -> None:
        """Write down what is in use, end what is late, give back grants, clear away. Ends by cancellation."""
        loop = asyncio.get_running_loop()
        next_sweep = loop.time() + random.uniform(0, SWEEP_EVERY_S)
        while True:
            try:
                async with asyncio.timeout(max(0, next_sweep - loop.time())):
                    await self._wake.wait()
                await asyncio.sleep(0.2)  # for the transaction that woke us, and for others
            except TimeoutError:
                next_sweep = loop.time() + SWEEP_EVERY_S
                self._sweep = True
            self._wake.clear()
            try:
                await self._once()
            except* psycopg.OperationalError as errors:
                log.warning("sessions wait for the database", reason=str(errors.exceptions[0]))
            except* Exception:
                log.exception("the care of sessions failed, going on")

    async def _once(self) -> None:
        stale, self._stale = self._stale, set()
        sweep, self._sweep = self._sweep, False
        if stale:
            async with self._pool.connection() as conn:
                await sessions.touch(conn, sorted(stale))
        if sweep:
            async with self._pool.connection() as conn:
                await sessions.end_late(conn)
                for table in (flows, exchange, sessions, audit):
                    await table.prune(conn)
            while await self._store.give_back():
                pass
            await self._store.keep_alive()

    def _touch(self, id: int) -> None:
        self._stale.add(id)
        self._wake.set()
