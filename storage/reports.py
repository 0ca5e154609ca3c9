"""What a report has to know: whether there is what it is about."""

from __future__ import annotations

from lexicons.syntax import Cid, Did
from storage.postgres import Connection
from storage.queries import load

_SQL = load("reports")


async def knows_account(conn: Connection, did: Did) -> bool:
    row = await (await conn.execute(_SQL["account"], {"did": did})).fetchone()
    return row is not None and bool(row[0])


async def shown_version(conn: Connection, did: Did, collection: str, rkey: str) -> Cid | None:
    """The CID under which we show a record now; None if we don't."""
    params = {"did": did, "collection": collection, "rkey": rkey}
    row = await (await conn.execute(_SQL["record"], params)).fetchone()
    return None if row is None else Cid(row[0])


async def was_judged(conn: Connection, subject: str) -> bool:
    """Whether a case of this subject ended as a violation."""
    row = await (await conn.execute(_SQL["judged"], {"subject": subject})).fetchone()
    return row is not None and bool(row[0])
