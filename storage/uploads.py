"""Table `staged_upload`, as far as people's own uploads go: how many they have, and those in parts.

A sound that comes in parts has its plan in its row, and whoever adds to it holds a lease on it, which runs
out by itself. The row ends when its job has published the bytes, or when it is given up
(`storage.blobs.rows`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson
from psycopg.rows import class_row

from lexicons.syntax import Did
from storage.postgres import Connection
from storage.queries import load

_SQL = load("uploads")


class Part(StrEnum):
    SOUND = "sound"
    COVER = "cover"


@dataclass(frozen=True, slots=True)
class Resumable:
    """A sound that comes in parts: `bytes` in the end."""

    name: str
    did: Did
    bytes: int
    plan: dict[str, Any]
    touched_at: datetime


async def lock(conn: Connection, did: Did) -> None:
    """Nobody else begins an upload of this account, signs in with it or deletes it until the caller's
    transaction ends."""
    await conn.execute(_SQL["lock"], {"did": did})


async def unfinished(conn: Connection, did: Did, *, moving_s: float) -> int:
    """How many uploads this account has under way; one in one piece that did not move for `moving_s` is
    dead."""
    row = await (await conn.execute(_SQL["unfinished"], {"did": did, "moving_s": moving_s})).fetchone()
    assert row is not None
    return int(row[0])


async def begin(
    conn: Connection,
    name: str,
    *,
    did: Did,
    part: Part,
    bytes: int | None,
    plan: Mapping[str, Any] | None = None,
) -> None:
    shown = None if plan is None else orjson.dumps(plan).decode()
    await conn.execute(_SQL["begin"], {"name": name, "did": did, "bytes": bytes, "part": part, "plan": shown})


async def resumable(conn: Connection, name: str, did: Did) -> Resumable | None:
    async with conn.cursor(row_factory=class_row(Resumable)) as cursor:
        await cursor.execute(_SQL["resumable"], {"name": name, "did": did})
        return await cursor.fetchone()


async def resumables(conn: Connection, did: Did) -> list[Resumable]:
    """Those of an account that have not become jobs, the one that moved last first."""
    async with conn.cursor(row_factory=class_row(Resumable)) as cursor:
        await cursor.execute(_SQL["resumables"], {"did": did})
        return await cursor.fetchall()


async def lease(conn: Connection, name: str, lease: UUID, *, lease_s: float) -> bool:
    """The right to add to it, taken or kept, for `lease_s`. False: somebody else has it, or it is gone."""
    params = {"name": name, "lease": lease, "lease_s": lease_s}
    return await (await conn.execute(_SQL["lease"], params)).fetchone() is not None


async def release(conn: Connection, name: str, lease: UUID) -> None:
    await conn.execute(_SQL["release"], {"name": name, "lease": lease})


async def drop(conn: Connection, name: str, lease: UUID) -> None:
    """Forget one that is leased."""
    await conn.execute(_SQL["drop"], {"name": name, "lease": lease})


async def job_of(conn: Connection, name: str, did: Did) -> tuple[UUID, int] | None:
    """The job that an upload became, and its size in bytes."""
    row = await (await conn.execute(_SQL["job_of"], {"name": name, "did": did})).fetchone()
    return None if row is None else (row[0], int(row[1]))
