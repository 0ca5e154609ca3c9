"""Deletes accounts that ask for it: what they have on their PDS if they wish, their access, their rows.

The order of the steps and their contract are in `indexer.deletion`; the last one is made by `plyr sync run`.
An account is out of sight from the moment on in which it asks.

Whoever asks for it writes nothing more here from then on: uploads that are under way end and are undone, and
what is on its way to the PDS is waited for before its records are listed.

What a PDS or an authorization server refuses in passing is tried again for a day. Then it goes on without,
and says so in a warning: nobody has to stay because a server is gone. Counts are what was found to be gone,
not what was tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from appview.auth.removal import BATCH, NotRemoved, Removal, RemovalRefused
from appview.pds import Pds
from indexer.deletion import LEASE_S, Step, first, move, wait_s
from indexer.duties import Duty
from indexer.forgetting import DELETED_HERE, SETTLE_S, forget
from indexer.standing import take_down
from lexicons.syntax import Did, Nsid
from storage import audit, deletions, jobs, sessions, uploads
from storage.audit import Event
from storage.deletions import Counted, Deletion, LostLease, Outcome
from storage.postgres import AWAY, Connection, Pool
from storage.sessions import End

log = structlog.get_logger()

PATIENCE = timedelta(days=1)
RETURN_S = 5.0  # for a server to take a grant back while somebody waits
_OURS = (Step.RECORDS, Step.ACCESS, Step.ERASE)
_NOTHING = Counted(0, 0, 0, 0, 0, 0, 0, 0)

# Deletes what a table keeps of one account that is nobody else's business, in the caller's transaction.
Eraser = Callable[[Connection, Did], Awaitable[object]]


class Grants(Protocol):
    """The part of the credentials' store that is needed here."""

    async def give_back(self, ids: Sequence[int] | None = None, *, limit: int = 20) -> int: ...


class Deletions:
    """`run` belongs into a task of the owner's. `private` are the erasers of tables that are not of signing
    in; `patience`: how long servers are asked again."""

    def __init__(
        self,
        pool: Pool,
        pds: Pds,
        grants: Grants,
        collections: Collection[Nsid],
        *,
        private: Sequence[Eraser] = (),
        patience: timedelta = PATIENCE,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._pool = pool
        self._pds = pds
        self._grants = grants
        self._collections = frozenset(collections)
        self._private = tuple(private)
        self._patience = patience
        self._settle_s = settle_s
        self.duty = Duty("deletions", take=self._take, work=self._work, at_once=2)

    async def run(self) -> None:
        await self.duty.run()

    async def ask(self, did: Did, session_id: int, *, remove_records: bool) -> int:
        """Begin, or go on with, the deletion of an account. It is out of sight when this returns its
        number."""
        async with self._pool.connection() as conn, conn.transaction():
            # Whoever hands an upload on has done so before, or is told that it is too late.
            await uploads.lock(conn, did)
            has = await deletions.counted(conn, did) or _NOTHING
            id, new = await deletions.add(
                conn,
                did,
                session_id,
                remove_records=remove_records,
                step=first(remove_records=remove_records),
                counts={"tracks": has.tracks, "albums": has.albums, "likes": has.likes}
                | {"comments": has.comments, "r2_objects": has.blobs, "atproto_records": 0},
                warnings=warnings_of(has),
            )
            if new:
                await audit.add(conn, Event.DELETION_REQUESTED, did=did, session=session_id)
                await take_down(conn, did, DELETED_HERE)
                await jobs.ask_all_to_end(conn, did)
        self.duty.wake()
        return id

    async def outcome(self, id: int, *, within_s: float) -> Outcome:
        """How it stands: once nothing is left to do here, or something has to be tried again, or the time is
        over."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            async with self._pool.connection() as conn:
                outcome = await deletions.outcome(conn, id)
            assert outcome is not None
            over = asyncio.get_running_loop().time() >= deadline
            if outcome.step not in _OURS or outcome.error is not None or over:
                return outcome
            await asyncio.sleep(0.1)

    async def _take(self, limit: int) -> list[Deletion]:
        async with self._pool.connection() as conn:
            return await deletions.take(conn, _OURS, limit=limit, lease_s=LEASE_S)

    async def _work(self, deletion: Deletion) -> None:
        step = _STEPS[Step(deletion.step)]
        try:
            await step(self, deletion)
        except LostLease:
            log.info("somebody else goes on with a deletion", deletion=deletion.id)
        except AWAY:
            raise
        except Exception:  # its lease runs out, and the others do not wait for it
            log.exception("a step of a deletion failed", deletion=deletion.id, step=deletion.step)
        else:
            self.duty.wake()

    async def _postpone(self, deletion: Deletion, reason: str, least_s: float = 0) -> None:
        log.info("a deletion waits", deletion=deletion.id, step=deletion.step, reason=reason)
        async with self._pool.connection() as conn:
            again_s = max(least_s, wait_s(deletion.attempts))
            await deletions.postpone(conn, deletion, reason, wait_s=again_s)

    def _is_late(self, deletion: Deletion) -> bool:
        return datetime.now(UTC) - deletion.requested_at > self._patience

    # -- the steps

    async def _records(self, deletion: Deletion) -> None:
        async with self._pool.connection() as conn:
            session_id = await deletions.granted_session(conn, deletion)
        if not self._is_late(deletion) and not await self._written(deletion.did):
            await self._postpone(deletion, "an upload of theirs is still being ended", RETURN_S)
            return
        if session_id is None:
            await self._leave_records(deletion, "nobody is signed in any more who may remove them")
            return
        held = _Held(self._pool, deletion)
        removal = Removal(self._pds, session_id, deletion.did, self._collections)
        try:
            await _remove(held, removal)
        except RemovalRefused as error:
            await self._leave_records(held.deletion, str(error))
        except NotRemoved as error:
            if self._is_late(deletion):
                await self._leave_records(held.deletion, str(error))
            else:
                await self._postpone(held.deletion, str(error), error.wait_s)
        else:
            async with self._pool.connection() as conn:
                await deletions.advance(conn, held.deletion, move(Step.RECORDS, Step.ACCESS))

    async def _leave_records(self, deletion: Deletion, reason: str) -> None:
        warning = f"your records on your PDS were not all removed: {reason}"
        async with self._pool.connection() as conn:
            await deletions.advance(conn, deletion, move(Step.RECORDS, Step.ACCESS), warnings=[warning])

    async def _written(self, did: Did) -> bool:
        """Whether nothing of theirs is on its way to the PDS any more."""
        deadline = asyncio.get_running_loop().time() + RETURN_S
        while True:
            async with self._pool.connection() as conn:
                writing = await deletions.is_writing(conn, did)
            if not writing or asyncio.get_running_loop().time() > deadline:
                return not writing
            await asyncio.sleep(0.1)

    async def _access(self, deletion: Deletion) -> None:
        async with self._pool.connection() as conn, conn.transaction():
            # Who signs in at this moment has done so, or does it later.
            await uploads.lock(conn, deletion.did)
            ids = await deletions.sessions_of(conn, deletion)
            await sessions.end(conn, ids, End.DELETED)
        warnings: list[str] = []
        if ids and not await self._returned(ids):
            if not self._is_late(deletion):
                await self._postpone(deletion, "a grant was not given back yet", RETURN_S)
                return
            warnings.append("your server was not told that your sign-in here has ended: end it there")
        async with self._pool.connection() as conn, conn.transaction():
            for erase in self._private:
                await erase(conn, deletion.did)
            await deletions.remove_access(conn, deletion.did, ids)
            await audit.add(conn, Event.ACCOUNT_DELETED, deletion=deletion.id)
            await deletions.advance(conn, deletion, move(Step.ACCESS, Step.ERASE), warnings=warnings)

    async def _returned(self, ids: Sequence[int]) -> bool:
        """Whether every grant was given back, by us or by the loop that cares for sessions."""
        await self._grants.give_back(ids, limit=len(ids))
        deadline = asyncio.get_running_loop().time() + RETURN_S
        while True:
            async with self._pool.connection() as conn:
                left = await deletions.unreturned(conn, ids)
            if not left or asyncio.get_running_loop().time() > deadline:
                return not left
            await asyncio.sleep(0.1)

    async def _erase(self, deletion: Deletion) -> None:
        async with self._pool.connection() as conn, conn.transaction():
            await uploads.lock(conn, deletion.did)  # likewise
            came_back = await deletions.came_back(conn, deletion)
            upto = await forget(conn, deletion.did, came_back=came_back)
            await deletions.advance(
                conn, deletion, move(Step.ERASE, Step.FILES), upto_seq=upto, wait_s=self._settle_s
            )


class _Held:
    """A deletion while one long step is made: what it counts is written down, and the lease renewed."""

    def __init__(self, pool: Pool, deletion: Deletion) -> None:
        self.deletion = deletion
        self._pool = pool

    async def note(self, counts: Mapping[str, int]) -> None:
        async with self._pool.connection() as conn:
            due = await deletions.note(conn, self.deletion, counts, lease_s=LEASE_S)
        self.deletion = replace(self.deletion, due=due, counts={**self.deletion.counts, **counts})


async def _remove(held: _Held, removal: Removal) -> None:
    """All that is listed. Raises NotRemoved, RemovalRefused, LostLease."""
    left = await removal.listed()
    found = held.deletion.counts.get("atproto_found")
    if found is None:
        # Written down before the first is gone: whoever goes on after us knows how many there were.
        found = len(left)
        await held.note({"atproto_found": found})
    while left:
        for start in range(0, len(left), BATCH):
            await removal.remove(left[start : start + BATCH])
            behind = min(start + BATCH, len(left))
            await held.note({"atproto_records": max(0, found - len(left) + behind)})
        before, left = left, await removal.listed()
        if len(left) >= len(before):
            raise NotRemoved("the PDS still lists what it said that it removed")
    await held.note({"atproto_records": found})


_STEPS: Mapping[Step, Callable[[Deletions, Deletion], Awaitable[None]]] = {
    Step.RECORDS: Deletions._records,
    Step.ACCESS: Deletions._access,
    Step.ERASE: Deletions._erase,
}


def warnings_of(has: Counted) -> list[str]:
    """What others made that will point at nothing."""
    parts = [
        f"{count:,} {word if count != 1 else word[:-1]}"
        for count, word in (
            (has.orphaned_likes, "likes"),
            (has.orphaned_comments, "comments"),
            (has.orphaned_lists, "lists"),
        )
        if count
    ]
    return [f"other people's records still point at your tracks: {', '.join(parts)}"] if parts else []
