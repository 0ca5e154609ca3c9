"""Table `account_deletion`: who asks to be forgotten, how far that has come, and what it counted.

A row is taken under a lease, worked on outside of any transaction, and moved on by whoever still has the
lease: of two that think they have it, one is told that it does not. Of a process that is gone
(storage/processes.py) it is taken at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from lexicons.syntax import Did
from storage import processes
from storage.postgres import Connection
from storage.queries import load

_SQL = load("deletions")


class LostLease(Exception):
    """Somebody else works on it by now."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """One that was taken; `due` is the lease. `attempts` of its step came to nothing."""

    id: int
    did: Did
    session_id: int | None
    remove_records: bool
    step: str
    counts: Mapping[str, int]
    warnings: Sequence[str]
    attempts: int
    due: datetime
    upto_seq: int | None
    requested_at: datetime


@dataclass(frozen=True, slots=True)
class Counted:
    """What an account has here; `blobs`: of its tracks and lists, that nobody else has; `orphaned_…` is
    others', and points at its tracks."""

    tracks: int
    albums: int
    likes: int
    comments: int
    blobs: int
    orphaned_likes: int
    orphaned_comments: int
    orphaned_lists: int


@dataclass(frozen=True, slots=True)
class Outcome:
    step: str
    counts: Mapping[str, int]
    warnings: Sequence[str]
    error: str | None


async def add(
    conn: Connection,
    did: Did,
    session_id: int,
    *,
    remove_records: bool,
    step: str,
    counts: Mapping[str, int],
    warnings: Sequence[str],
) -> tuple[int, bool]:
    """The deletion of this account, and whether it is a new one."""
    params = {
        "did": did,
        "session_id": session_id,
        "remove_records": remove_records,
        "step": step,
        "counts": Jsonb(counts),
        "warnings": Jsonb(warnings),
    }
    row = await (await conn.execute(_SQL["add"], params)).fetchone()
    assert row is not None
    return row[0], row[1]


async def take(
    conn: Connection, steps: Sequence[str], *, limit: int, lease_s: float, id: int | None = None
) -> list[Deletion]:
    """Those that are due for one of these steps; `id`: only this one."""
    async with conn.cursor(row_factory=class_row(Deletion)) as cursor:
        params = {"steps": list(steps), "limit": limit, "lease_s": lease_s, "id": id}
        gone = processes.gone([row[0] for row in await (await conn.execute(_SQL["holders"])).fetchall()])
        await cursor.execute(_SQL["take"], params | {"holder": processes.own(), "gone": gone})
        return await cursor.fetchall()


async def advance(
    conn: Connection,
    deletion: Deletion,
    step: str,
    *,
    counts: Mapping[str, int] | None = None,
    warnings: Sequence[str] = (),
    upto_seq: int | None = None,
    wait_s: float = 0,
) -> None:
    """Write down that `step` is next, in `wait_s`. Raises LostLease, and then nothing of the caller's
    transaction may stay."""
    params = {
        "id": deletion.id,
        "due": deletion.due,
        "step": step,
        "counts": Jsonb(counts or {}),
        "warnings": Jsonb(list(warnings)),
        "upto_seq": upto_seq,
        "wait_s": wait_s,
    }
    await _owned(conn, "advance", params)


async def note(
    conn: Connection, deletion: Deletion, counts: Mapping[str, int], *, lease_s: float
) -> datetime:
    """Remember what a step has counted, and go on under the lease that this gives. Raises LostLease."""
    params = {"id": deletion.id, "due": deletion.due, "counts": Jsonb(counts), "lease_s": lease_s}
    return await _owned(conn, "note", params)


async def postpone(conn: Connection, deletion: Deletion, error: str, *, wait_s: float) -> None:
    params = {"id": deletion.id, "due": deletion.due, "error": error, "wait_s": wait_s}
    await conn.execute(_SQL["postpone"], params)


async def finish(conn: Connection, deletion: Deletion, counts: Mapping[str, int]) -> None:
    """It is done, and the row says no more whose it was. Raises LostLease."""
    params = {"id": deletion.id, "due": deletion.due, "counts": Jsonb(counts)}
    await _owned(conn, "finish", params)


async def outcome(conn: Connection, id: int) -> Outcome | None:
    async with conn.cursor(row_factory=class_row(Outcome)) as cursor:
        await cursor.execute(_SQL["outcome"], {"id": id})
        return await cursor.fetchone()


async def counted(conn: Connection, did: Did) -> Counted | None:
    """None: nothing of this account was ever seen here."""
    async with conn.cursor(row_factory=class_row(Counted)) as cursor:
        await cursor.execute(_SQL["counted"], {"did": did})
        return await cursor.fetchone()


async def sessions_of(conn: Connection, deletion: Deletion) -> list[int]:
    """Sessions and developer tokens that the account had when it asked."""
    params = {"did": deletion.did, "requested_at": deletion.requested_at}
    return [row[0] for row in await (await conn.execute(_SQL["sessions"], params)).fetchall()]


async def granted_session(conn: Connection, deletion: Deletion) -> int | None:
    """A session that can still act on the PDS."""
    params = {
        "did": deletion.did,
        "requested_at": deletion.requested_at,
        "session_id": deletion.session_id,
    }
    row = await (await conn.execute(_SQL["granted"], params)).fetchone()
    return None if row is None else row[0]


async def is_leaving(conn: Connection, did: Did) -> bool:
    """Whether this account is being deleted."""
    row = await (await conn.execute(_SQL["leaving"], {"did": did})).fetchone()
    return row is not None and row[0]


async def is_writing(conn: Connection, did: Did) -> bool:
    """Whether something of theirs is on its way to their PDS."""
    row = await (await conn.execute(_SQL["writing"], {"did": did})).fetchone()
    return row is not None and row[0]


async def unreturned(conn: Connection, ids: Sequence[int]) -> int:
    """How many of these sessions hold a grant that was not given back."""
    row = await (await conn.execute(_SQL["unreturned"], {"ids": list(ids)})).fetchone()
    assert row is not None
    return row[0]


async def remove_access(conn: Connection, did: Did, ids: Sequence[int]) -> None:
    """Delete these sessions and whatever else says that the account was signed in."""
    await conn.execute(_SQL["remove_access"], {"did": did, "ids": list(ids)})


async def came_back(conn: Connection, deletion: Deletion) -> bool:
    """Whether they signed in again meanwhile."""
    params = {"did": deletion.did, "requested_at": deletion.requested_at}
    row = await (await conn.execute(_SQL["came_back"], params)).fetchone()
    return row is not None and row[0]


async def _owned(conn: Connection, statement: str, params: Mapping[str, Any]) -> Any:
    row = await (await conn.execute(_SQL[statement], params)).fetchone()
    if row is None:
        raise LostLease(f"deletion {params['id']}")
    return row[0]
