"""The way of an account's deletion, and its last step, which is made where the files are.

    RECORDS ──▶ ACCESS ──▶ ERASE ──▶ FILES ──▶ DONE

    RECORDS   its records of ours are removed on its PDS, if that was asked for: the grant is still there
    ACCESS    sessions, developer tokens and their grants, and whatever else is private
    ERASE     all rows; the account is unknown here, and stays so (`indexer.forgetting`)
    FILES     what happened, in the outbox, the archive and the dumps

Contract: a step is written down as done in the transaction of its effects, or after effects that do no harm
when they are done again. Whoever dies anywhere leaves a lease that runs out, and somebody goes on.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import structlog

from indexer.duties import Duty
from indexer.forgetting import wipe
from lexicons.syntax import Did
from storage import deletions
from storage.deletions import Deletion, LostLease
from storage.forgotten import NamesBusy
from storage.postgres import Connection, Pool
from storage.segment import BrokenSegment

log = structlog.get_logger()

LEASE_S = 600.0  # a large archive is written anew
RETRY_S = 5.0
MOST_WAIT_S = 3600.0


class Step(StrEnum):
    RECORDS = "records"
    ACCESS = "access"
    ERASE = "erase"
    FILES = "files"
    DONE = "done"


MOVES: dict[Step, frozenset[Step]] = {
    Step.RECORDS: frozenset({Step.ACCESS}),
    Step.ACCESS: frozenset({Step.ERASE}),
    Step.ERASE: frozenset({Step.FILES}),
    Step.FILES: frozenset({Step.DONE}),
    Step.DONE: frozenset(),
}


class IllegalMove(Exception):
    """A deletion was about to skip a step."""


def move(before: Step, after: Step) -> Step:
    """`after`, if it is what follows `before`."""
    if after not in MOVES[before]:
        raise IllegalMove(f"{before} → {after}")
    return after


def first(*, remove_records: bool) -> Step:
    return Step.RECORDS if remove_records else Step.ACCESS


def wait_s(attempts: int) -> float:
    """How long to leave alone what did not work out so many times."""
    return min(MOST_WAIT_S, RETRY_S * 2.0 ** min(attempts, 20))


class Wiper:
    """Makes the last step of whoever is due, until it is cancelled."""

    def __init__(self, pool: Pool, *, archive: Path, dumps: Path) -> None:
        self._pool = pool
        self._archive = archive
        self._dumps = dumps
        self.duty = Duty("deletions", take=self._take, work=self._wipe, at_once=1)

    async def run(self) -> None:
        await self.duty.run()

    async def _take(self, limit: int) -> list[Deletion]:
        async with self._pool.connection() as conn:
            return await deletions.take(conn, [Step.FILES], limit=limit, lease_s=LEASE_S)

    async def _wipe(self, deletion: Deletion) -> None:
        move(Step(deletion.step), Step.DONE)
        async with self._pool.connection() as conn:
            try:
                await self._step(conn, deletion, deletion.did)
            except (NamesBusy, BrokenSegment, OSError) as error:
                log.warning("an account is not out of the files yet", deletion=deletion.id, error=str(error))
                await deletions.postpone(conn, deletion, str(error), wait_s=wait_s(deletion.attempts))
            except LostLease:
                log.info("somebody else goes on with a deletion", deletion=deletion.id)
            else:
                log.info("an account is forgotten", deletion=deletion.id)

    async def _step(self, conn: Connection, deletion: Deletion, did: Did) -> None:
        upto = deletion.upto_seq or 0
        await wipe(conn, did, upto, archive=self._archive, dumps=self._dumps)
        await deletions.finish(conn, deletion, {})
