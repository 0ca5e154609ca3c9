"""Labels of one value as a list of flags: what was said last of each subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row

from lexicons.syntax import Did
from storage.labels import LabelRow
from storage.postgres import Connection
from storage.queries import load

_SQL = load("flags")


@dataclass(frozen=True, slots=True)
class Flag:
    """`neg`: it was taken back. `context`: what somebody told about the subject, to be shown."""

    seq: int
    uri: str
    val: str
    cts: str
    neg: bool
    context: Mapping[str, Any] | None


async def listed(conn: Connection, src: Did, val: str, *, limit: int) -> list[Flag]:
    """The newest first."""
    async with conn.cursor(row_factory=class_row(Flag)) as cursor:
        await cursor.execute(_SQL["listed"], {"src": src, "val": val, "limit": limit})
        return await cursor.fetchall()


async def said(conn: Connection, src: Did, uri: str, val: str) -> LabelRow | None:
    """The newest label of this value on a subject, a negation or not."""
    async with conn.cursor(row_factory=class_row(LabelRow)) as cursor:
        await cursor.execute(_SQL["said"], {"src": src, "uri": uri, "val": val})
        return await cursor.fetchone()
