"""Table `rejected_event`: nothing is swallowed. What could not be applied waits here with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from lexicons.syntax import Did
from storage.postgres import Connection, as_json
from storage.queries import load

_SQL = load("rejected")
MOST_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Rejection:
    """`retry_s`: try again by itself after that many seconds; None: only a person may."""

    source: str
    seq: int | None
    did: str | None
    reason: str
    detail: str
    raw: bytes
    retry_s: float | None


@dataclass(frozen=True, slots=True)
class Due:
    id: int
    source: str
    attempts: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """What waits, without its bytes. `next_attempt_at` None: only a person may try again."""

    id: int
    source: str
    seq: int | None
    did: str | None
    reason: str
    detail: str
    bytes: int
    attempts: int
    next_attempt_at: datetime | None
    rejected_at: datetime


@dataclass(frozen=True, slots=True)
class Choice:
    """Which events a person means: all that fit everything that is given."""

    ids: Sequence[int] | None = None
    reason: str | None = None
    did: str | None = None


@dataclass(frozen=True, slots=True)
class GivenUp:
    source: str
    seq: int | None
    did: Did | None
    digest: bytes


async def add(conn: Connection, rejections: Sequence[Rejection]) -> None:
    # One row a digest: the same bytes twice in one statement would be refused.
    rows = {
        (r.source, digest): {
            "source": r.source,
            "digest": digest,
            "seq": r.seq,
            "did": r.did,
            "reason": r.reason,
            "detail": _kept(r.detail),
            "raw": r.raw,
            "retry_s": r.retry_s,
        }
        for r in rejections
        for digest in [hashlib.sha256(r.raw).digest()]
    }
    await conn.execute(_SQL["add"], {"rows": as_json(list(rows.values()))})


async def take(conn: Connection, *, limit: int, lease_s: float) -> list[Due]:
    """Frames worth another try. Nobody else takes them for `lease_s`, and a crash makes them due again."""
    async with conn.cursor(row_factory=class_row(Due)) as cursor:
        await cursor.execute(_SQL["take"], {"limit": limit, "lease_s": lease_s})
        return await cursor.fetchall()


async def drop(conn: Connection, ids: Sequence[int]) -> None:
    await conn.execute(_SQL["drop"], {"ids": list(ids)})


async def postpone(conn: Connection, id: int, *, reason: str, detail: str, again: bool) -> None:
    params = {"id": id, "reason": reason, "detail": _kept(detail), "again": again, "most": MOST_ATTEMPTS}
    await conn.execute(_SQL["postpone"], params)


async def listed(
    conn: Connection, choice: Choice = Choice(), *, before: int | None = None, limit: int
) -> list[Kept]:
    """Newest first; the next page is `before` the last one's id."""
    async with conn.cursor(row_factory=class_row(Kept)) as cursor:
        params = {**_params(choice), "before": before, "limit": limit}
        await cursor.execute(_SQL["listed"], params)
        return await cursor.fetchall()


async def raw_of(conn: Connection, id: int) -> bytes | None:
    row = await (await conn.execute(_SQL["raw_of"], {"id": id})).fetchone()
    return None if row is None else row[0]


async def hurry(conn: Connection, choice: Choice) -> int:
    """Have these tried again now, whatever was thought of that. Returns how many they are."""
    return (await conn.execute(_SQL["hurry"], _params(choice))).rowcount


async def give_up(conn: Connection, choice: Choice) -> list[GivenUp]:
    """Delete these; the caller tells the outbox."""
    cursor = await conn.execute(_SQL["give_up"], _params(choice))
    return [GivenUp(*row) for row in await cursor.fetchall()]


def _kept(detail: str) -> str:
    return detail.replace("\0", "\\0")[:1000]


def _params(choice: Choice) -> dict[str, object]:
    return {
        "ids": None if choice.ids is None else list(choice.ids),
        "reason": choice.reason,
        "did": choice.did,
    }


async def counts(conn: Connection) -> dict[str, int]:
    return dict(await (await conn.execute(_SQL["counts"])).fetchall())
