"""Table `job`: what is being done for whom, how far it is, and how it ended.

    pending ──▶ running ──▶ done | failed | cancelled
       ▲───────────┘ another attempt

Every change is told on the channel `job`, with the job's id. `facts` are what steps came to: whoever goes on
after a crash reads there what need not be done again. Where an `attempt` is named (its number, which is what
`attempts` was when it began, and no other gets), nothing is written once another attempt has begun: whoever
was taken for dead and is not must not meddle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NoReturn
from uuid import UUID

import orjson
import psycopg
from psycopg import sql
from psycopg.rows import class_row

from storage.postgres import Connection
from storage.queries import load

_SQL = load("jobs")

CHANNEL = "job"


class JobState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {JobState.PENDING, JobState.RUNNING, JobState.DONE, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset({JobState.PENDING}),  # a person retries it
    JobState.CANCELLED: frozenset({JobState.PENDING}),
}


@dataclass(frozen=True, slots=True)
class Job:
    """A row. `progress`: 0 to 1 of its phase. `error` and `message` are for its owner. One that has an error
    or was asked to end, and is not finished, is only being undone."""

    id: UUID
    kind: str
    did: str | None
    subject: str | None
    args: dict[str, Any]
    state: JobState
    phase: str | None
    facts: dict[str, Any]
    progress: float | None
    message: str | None
    attempts: int
    error: str | None
    warnings: list[str]
    result: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    cancel_asked_at: datetime | None = None
    uncounted: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", JobState(self.state))

    @property
    def tries(self) -> int:
        """How many attempts are held against it."""
        return self.attempts - self.uncounted

    @property
    def finished(self) -> bool:
        return self.finished_at is not None


async def add(
    conn: Connection,
    kind: str,
    *,
    did: str | None,
    subject: str | None,
    args: Mapping[str, Any],
    lane: str = "light",
) -> UUID | None:
    """A new job, pending; None where one of this kind about this subject is not finished yet."""
    params = {"kind": kind, "did": did, "subject": subject, "args": _json(args), "lane": lane}
    row = await (await conn.execute(_SQL["add"], params)).fetchone()
    return None if row is None else row[0]


async def get(conn: Connection, id: UUID) -> Job | None:
    return await _one(conn, "get", {"id": id})


async def unfinished_about(conn: Connection, kind: str, subject: str) -> Job | None:
    return await _one(conn, "unfinished_about", {"kind": kind, "subject": subject})


async def of(conn: Connection, did: str, *, kind: str | None = None, limit: int = 50) -> list[Job]:
    """Somebody's jobs, the newest first."""
    async with conn.cursor(row_factory=class_row(Job)) as cursor:
        await cursor.execute(_SQL["of"], {"did": did, "kind": kind, "limit": limit})
        return await cursor.fetchall()


async def listed(
    conn: Connection,
    *,
    kind: str | None = None,
    did: str | None = None,
    state: str | None = None,
    house: bool = True,
    limit: int,
) -> list[Job]:
    """Anybody's jobs, the newest first; without `house`, none that the house did well for itself."""
    params = {"kind": kind, "did": did, "state": state, "house": house, "limit": limit}
    async with conn.cursor(row_factory=class_row(Job)) as cursor:
        await cursor.execute(_SQL["listed"], params)
        return await cursor.fetchall()


async def begin(conn: Connection, id: UUID) -> Job | None:
    """Another attempt begins; None where it has ended already."""
    return await _one(conn, "begin", {"id": id})


async def report(
    conn: Connection,
    id: UUID,
    phase: str,
    message: str | None,
    progress: float | None,
    *,
    attempt: int | None = None,
) -> bool | None:
    """Whether somebody wants it to end; None: it has ended, or another attempt is on."""
    params = {"id": id, "phase": phase, "message": message, "progress": progress, "attempt": attempt}
    row = await (await conn.execute(_SQL["report"], params)).fetchone()
    return None if row is None else bool(row[0])


async def save(
    conn: Connection,
    id: UUID,
    facts: Mapping[str, Any],
    *,
    warnings: Sequence[str] = (),
    attempt: int | None = None,
) -> bool:
    """Write down what a step came to, in the caller's transaction. False: the job has ended, or another
    attempt is on."""
    params = {"id": id, "facts": _json(facts), "warnings": _json(list(warnings)), "attempt": attempt}
    return await _hit(conn, "save", params)


async def wait(
    conn: Connection, id: UUID, message: str, *, attempt: int | None = None, counts: bool = True
) -> bool:
    """It is pending again, until its next attempt; without `counts` as if this one had not been."""
    params = {"id": id, "message": message, "attempt": attempt, "counts": counts}
    return await _hit(conn, "wait", params)


async def give_back(conn: Connection, id: UUID, *, attempt: int) -> bool:
    """It is pending again, as if that attempt had not been."""
    return await _hit(conn, "give_back", {"id": id, "attempt": attempt})


async def doom(conn: Connection, id: UUID, error: str, *, attempt: int) -> bool:
    """From now on it is only undone."""
    return await _hit(conn, "doom", {"id": id, "error": error, "attempt": attempt})


async def ask_to_end(conn: Connection, id: UUID) -> bool:
    """It is to be undone, and then cancelled. False: it has ended already."""
    return await _hit(conn, "ask_to_end", {"id": id})


async def ask_all_to_end(conn: Connection, did: str) -> None:
    """All of this account's are to be undone, and then cancelled."""
    await conn.execute(_SQL["ask_all_to_end"], {"did": did})


async def finish(
    conn: Connection,
    id: UUID,
    state: JobState,
    *,
    message: str,
    error: str | None = None,
    result: Mapping[str, Any] | None = None,
    attempt: int | None = None,
) -> bool:
    """End it for good, in the caller's transaction. False: it had ended before, or another attempt is on."""
    params = {"id": id, "state": state, "message": message, "error": error, "attempt": attempt}
    params["result"] = None if result is None else _json(result)
    return await _hit(conn, "finish", params)


async def again(conn: Connection, id: UUID) -> bool:
    """Have one that failed or was cancelled begin anew. False: it is neither, or not undone yet, or
    another about the same subject is on."""
    return await _hit(conn, "again", {"id": id})


async def unfinished(conn: Connection) -> dict[str, int]:
    """How many of each kind are not finished."""
    return dict(await (await conn.execute(_SQL["unfinished"])).fetchall())


async def states(conn: Connection) -> dict[str, int]:
    """How many are in each state."""
    return dict(await (await conn.execute(_SQL["states"])).fetchall())


async def last_of(conn: Connection, kind: str) -> datetime | None:
    """When the newest of a kind was put into the queue."""
    row = await (await conn.execute(_SQL["last_of"], {"kind": kind})).fetchone()
    return None if row is None else row[0]


async def left_over(conn: Connection, kinds: Sequence[str]) -> list[Job]:
    """What ended, and still owns blobs as a job."""
    async with conn.cursor(row_factory=class_row(Job)) as cursor:
        await cursor.execute(_SQL["left_over"], {"kinds": list(kinds)})
        return await cursor.fetchall()


async def forget_old(conn: Connection, *, days: int, house_days: int) -> int:
    """Delete what ended that long ago, but for the newest of each kind; what the house did well for itself,
    after `house_days`. Returns how many those were."""
    return (await conn.execute(_SQL["forget_old"], {"days": days, "house_days": house_days})).rowcount


async def erase(conn: Connection, did: str) -> None:
    """Forget somebody's jobs and let go of what these own, in the caller's transaction."""
    await conn.execute(_SQL["hold"], {"did": did})
    await conn.execute(_SQL["erase"], {"did": did})


async def _hit(conn: Connection, statement: str, params: Mapping[str, object]) -> bool:
    return await (await conn.execute(_SQL[statement], params)).fetchone() is not None


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


async def _one(conn: Connection, statement: str, params: Mapping[str, object]) -> Job | None:
    async with conn.cursor(row_factory=class_row(Job)) as cursor:
        await cursor.execute(_SQL[statement], params)
        return await cursor.fetchone()


async def listen(dsn: str, heard: Callable[[UUID | None], None]) -> NoReturn:
    """Calls `heard` with each job that changed, and with None when it begins to listen: whatever changed
    before that was not heard. Raises psycopg.Error when the connection is lost."""
    conn = await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, connect_timeout=5, application_name="plyr-jobs"
    )
    async with conn:
        await conn.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
        heard(None)
        async for notice in conn.notifies():
            heard(UUID(notice.payload))
    raise psycopg.OperationalError("the connection ended")
