"""Table `job`: what is being done for whom, how far it is, and how it ended.

    pending ──▶ running ──▶ done | failed | cancelled
       ▲───────────┘ another attempt

Every change is told on the channel `job`, with the job's id. `facts` are what steps came to: whoever goes on
after a crash reads there what need not be done again.
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
    """A row. `progress`: 0 to 1 of its phase. `error` and `message` are for its owner."""

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", JobState(self.state))

    @property
    def finished(self) -> bool:
        return self.finished_at is not None


async def add(
    conn: Connection, kind: str, *, did: str | None, subject: str | None, args: Mapping[str, Any]
) -> UUID | None:
    """A new job, pending; None where one of this kind about this subject is not finished yet."""
    params = {"kind": kind, "did": did, "subject": subject, "args": _json(args)}
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


async def begin(conn: Connection, id: UUID) -> Job | None:
    """Another attempt begins; None where it has ended already."""
    return await _one(conn, "begin", {"id": id})


async def report(conn: Connection, id: UUID, phase: str, message: str, progress: float | None) -> None:
    params = {"id": id, "phase": phase, "message": message, "progress": progress}
    await conn.execute(_SQL["report"], params)


async def save(conn: Connection, id: UUID, facts: Mapping[str, Any], *, warnings: Sequence[str] = ()) -> bool:
    """Write down what a step came to, in the caller's transaction. False: the job has ended."""
    params = {"id": id, "facts": _json(facts), "warnings": _json(list(warnings))}
    return await (await conn.execute(_SQL["save"], params)).fetchone() is not None


async def wait(conn: Connection, id: UUID, message: str) -> None:
    """It is pending again, until its next attempt."""
    await conn.execute(_SQL["wait"], {"id": id, "message": message})


async def finish(
    conn: Connection,
    id: UUID,
    state: JobState,
    *,
    message: str,
    error: str | None = None,
    result: Mapping[str, Any] | None = None,
) -> bool:
    """End it for good, in the caller's transaction. False: it had ended before."""
    params = {"id": id, "state": state, "message": message, "error": error}
    params["result"] = None if result is None else _json(result)
    return await (await conn.execute(_SQL["finish"], params)).fetchone() is not None


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
