"""Table `decision`: what was decided about an account, and why. Only ever added to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from lexicons.syntax import Did
from storage.postgres import Connection, as_json
from storage.queries import load

_SQL = load("decisions")


@dataclass(frozen=True, slots=True)
class Decision:
    """`kind`: state, account, identity, resync, discovery, reconcile or takedown. `reason` is a sentence
    for a person; `source` said it, at `seq` of its own numbers."""

    did: Did
    kind: str
    outcome: str
    reason: str
    source: str | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    at: datetime
    kind: str
    outcome: str
    reason: str
    source: str | None
    seq: int | None


async def add(conn: Connection, decisions: Sequence[Decision]) -> None:
    if decisions:
        await conn.execute(_SQL["add"], {"rows": as_json(decisions)})


async def latest(conn: Connection, did: Did, *, limit: int) -> list[Decided]:
    """Newest first."""
    async with conn.cursor(row_factory=class_row(Decided)) as cursor:
        await cursor.execute(_SQL["latest"], {"did": did, "limit": limit})
        return await cursor.fetchall()
