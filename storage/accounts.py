"""How accounts stand: whose PDS is to be asked, what it said, and what is left of who is gone.

Columns `account_*`, `active`, `status`, `taken_down` and `withheld` of table `repo`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.rows import class_row

from lexicons.catalog import Collections
from lexicons.syntax import Did, Nsid, Rev, Rkey
from storage.postgres import Connection, as_json
from storage.queries import load

_SQL = load("accounts")


@dataclass(frozen=True, slots=True)
class Due:
    """An account that was taken to be asked about. `account_due` is the lease; `account_claim` is what
    `account_source` said of it at seq `account_seq`, None if nobody did since the last answer."""

    id: int
    did: Did
    account_due: datetime
    account_tries: int
    account_claim: str | None
    account_source: str | None
    account_seq: int | None


class Erased(NamedTuple):
    """A record that is a tombstone now."""

    collection: Nsid
    rkey: Rkey
    rev: Rev


async def take(conn: Connection, *, limit: int, lease_s: float) -> list[Due]:
    async with conn.cursor(row_factory=class_row(Due)) as cursor:
        await cursor.execute(_SQL["take"], {"limit": limit, "lease_s": lease_s})
        return await cursor.fetchall()


async def check(conn: Connection, dids: Iterable[Did]) -> None:
    """Have the PDSs of these accounts asked now."""
    await conn.execute(_SQL["check"], {"dids": sorted(dids)})


async def postpone(conn: Connection, due: Due, *, wait_s: float = 0) -> None:
    """Nobody could tell: ask again later, in no less than `wait_s`."""
    await conn.execute(_SQL["postpone"], {"id": due.id, "lease": due.account_due, "wait_s": wait_s})


async def settle(
    conn: Connection, due: Due, *, active: bool, status: str | None, again_s: float | None
) -> datetime | None:
    """Store the answer; `again_s`: ask again in so many seconds, None: when something is heard. Returns
    when that is."""
    params = {
        "id": due.id,
        "lease": due.account_due,
        "active": active,
        "status": status,
        "again_s": again_s,
    }
    row = await (await conn.execute(_SQL["settle"], params)).fetchone()
    return None if row is None else row[0]


async def last_rev(conn: Connection, repo_id: int) -> Rev | None:
    """The newest rev that we have seen of a repo or of any of its records."""
    row = await (await conn.execute(_SQL["last_rev"], {"id": repo_id})).fetchone()
    return None if row is None else row[0]


async def begin_anew(conn: Connection, repo_id: int, gaps: Sequence[Any], last: Rev | None) -> None:
    """Nothing of this repo's future follows from its past, which ends at `last`: only a resync makes it
    whole again."""
    await conn.execute(_SQL["begin_anew"], {"id": repo_id, "gaps": as_json(gaps), "last": last})


async def erased(conn: Connection, due: Due) -> None:
    """Nothing is left: there is nothing to be asked any more, unless something was heard meanwhile."""
    await conn.execute(_SQL["erased"], {"id": due.id, "lease": due.account_due})


async def erase_records(
    conn: Connection, repo_id: int, rev: Rev, after: tuple[str, str], limit: int, own: Collections
) -> list[Erased]:
    """Delete the next records up to `rev` that come behind (collection, rkey) `after`, in order, with what
    was made of them, their profile's looks excepted. The caller has hidden the account."""
    params = {
        "id": repo_id,
        "rev": rev,
        "collection": after[0],
        "rkey": after[1],
        "limit": limit,
        "track": own.track,
        "like": own.like,
        "comment": own.comment,
        "list": own.list,
    }
    cursor = await conn.execute(_SQL["erase_records"], params)
    return [Erased(*row) for row in await cursor.fetchall()]


async def erase_proofs(conn: Connection, repo_id: int, rev: Rev) -> None:
    await conn.execute(_SQL["erase_proofs"], {"id": repo_id, "rev": rev})


async def take_down(conn: Connection, repo_id: int, reason: str | None) -> None:
    await conn.execute(_SQL["take_down"], {"id": repo_id, "reason": reason})


async def withhold(conn: Connection, repo_id: int, sha256: str, reason: str | None) -> bool:
    """Our own decision about bytes of an account, None: lifted. False: it was so already."""
    params = {"id": repo_id, "sha256": sha256, "reason": reason}
    return await (await conn.execute(_SQL["withhold"], params)).fetchone() is not None
