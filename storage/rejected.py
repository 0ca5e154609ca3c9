"""Table `rejected_event`: nothing is swallowed. What could not be applied waits here with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

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


async def add(conn: Connection, rejections: Sequence[Rejection]) -> None:
    # One row a digest: the same bytes twice in one statement would be refused.
    rows = {
        (r.source, digest): {
            "source": r.source,
            "digest": digest,
            "seq": r.seq,
            "did": r.did,
            "reason": r.reason,
            "detail": r.detail.replace("\0", "\\0")[:1000],
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
    params = {"id": id, "reason": reason, "detail": detail[:1000], "again": again, "most": MOST_ATTEMPTS}
    await conn.execute(_SQL["postpone"], params)


async def counts(conn: Connection) -> dict[str, int]:
    return dict(await (await conn.execute(_SQL["counts"])).fetchall())
