"""Tables `foreign_label` and `foreign_labeler`: what others say, and how far each of them was heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from psycopg.rows import class_row

from lexicons.syntax import Did
from storage.feed import text_array
from storage.postgres import Connection, as_json
from storage.queries import load
from storage.reader import Reads

_SQL = load("foreign_labels")
STATEMENTS: dict[str, str] = {**load("foreign_label_reads")}


@dataclass(frozen=True, slots=True)
class ForeignLabel:
    """A label of somebody else's. `cts` and `exp` are as they were signed, beside what they say."""

    src: str
    uri: str
    val: str
    cid: str | None
    neg: bool
    cts: str
    exp: str | None
    said_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Active:
    """A label of somebody else's that holds now."""

    src: str
    uri: str
    val: str
    cid: str | None
    cts: str
    exp: str | None


@dataclass(frozen=True, slots=True)
class Followed:
    """A labeler that was heard up to `seq`, `age_s` ago; `refused` of its labels did not hold, the last for
    `refusal`."""

    did: Did
    seq: int
    age_s: float
    refused: int
    refusal: str | None


async def followed(conn: Connection) -> list[Followed]:
    """All that were ever heard, by DID."""
    async with conn.cursor(row_factory=class_row(Followed)) as cursor:
        await cursor.execute(_SQL["followed"])
        return await cursor.fetchall()


async def seq_of(conn: Connection, did: Did) -> int:
    """How far this labeler was heard; 0: never."""
    row = await (await conn.execute(_SQL["seq"], {"did": did})).fetchone()
    return 0 if row is None else int(row[0])


async def put(conn: Connection, rows: Sequence[ForeignLabel]) -> None:
    """Keep the last word on each value; no two rows are about the same."""
    if rows:
        await conn.execute(_SQL["put"], {"rows": as_json(rows)})


async def heard(conn: Connection, did: Did, seq: int, *, refused: int, refusal: str | None) -> None:
    """Everything up to `seq` was heard, and so many labels among it did not hold."""
    params = {"did": did, "seq": seq, "refused": refused, "refusal": refusal}
    await conn.execute(_SQL["heard"], params)


async def on(reads: Reads, uris: Sequence[str], sources: Sequence[str]) -> list[Active]:
    """What these labelers say of these URIs now, in the order in which they said it."""
    rows = await reads.fetch("foreign_labels_on", text_array(uris), text_array(sources))
    return [Active(**orjson.loads(rows.cell(i, 0) or b"")) for i in range(rows.count)]
