"""Everything that we can say about one account and its records, read at one moment for one person.

Slow compared with the rest of this folder (`seen` looks through the outbox): for a person who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from lexicons.syntax import Cid, Did, Handle, Nsid, Rev, Rkey
from storage import decisions, outbox
from storage.decisions import Decided
from storage.outbox import Entry
from storage.postgres import Connection
from storage.queries import load

_SQL = load("explain")


@dataclass(frozen=True, slots=True)
class Account:
    """A row of `repo`, and whether the account is out of sight."""

    id: int
    did: Did
    handle: Handle | None
    pds: str | None
    signing_key: str | None
    identity_at: datetime | None
    identity_due: datetime | None
    identity_tries: int
    active: bool
    status: str | None
    taken_down: str | None
    account_due: datetime | None
    account_tries: int
    hidden: bool
    state: str
    rev: Rev | None
    data: Cid | None
    gaps: list[dict[str, Any]]
    synced_rev: Rev | None
    resync_due: datetime | None
    resync_tries: int
    resync_error: str | None
    checked_at: datetime | None
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Holding:
    """Records of one collection: there, deleted; and of both, not proven and refused by the lexicon."""

    collection: Nsid
    held: int
    deleted: int
    unproven: int
    invalid: int


@dataclass(frozen=True, slots=True)
class Version:
    """A record as it stands. `cid` None: deleted. `proof`: the commit that wrote it is kept."""

    rev: Rev
    cid: Cid | None
    bytes: int | None
    verified: bool
    invalid: str | None
    proof: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that could not be applied. `next_attempt_at` None: only a person may try again."""

    id: int
    source: str
    seq: int | None
    reason: str
    detail: str
    attempts: int
    next_attempt_at: datetime | None
    rejected_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry of the outbox, its number, and when it was committed."""

    seq: int
    at: datetime
    entry: Entry


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an account. `waiting` is the newest of `waiting_count`; `seen` and `decided` are
    newest first; `seen_since` is how far the outbox goes back."""

    account: Account
    holdings: Sequence[Holding]
    waiting: Sequence[Waiting]
    waiting_count: int
    decided: Sequence[Decided]
    seen: Sequence[Seen]
    seen_since: datetime | None


async def find(conn: Connection, actor: str) -> Did | None:
    """The DID of an account that we track, given that or its handle."""
    row = await (await conn.execute(_SQL["find"], {"actor": actor})).fetchone()
    return None if row is None else Did(row[0])


async def facts(conn: Connection, did: Did, *, limit: int) -> Facts | None:
    """All about an account, at most `limit` of what may be many; None if we don't track it."""
    params = {"did": did, "limit": limit}
    async with conn.cursor(row_factory=class_row(Account)) as cursor:
        account = await (await cursor.execute(_SQL["account"], params)).fetchone()
    if account is None:
        return None
    async with conn.cursor(row_factory=class_row(Holding)) as cursor:
        holdings = await (await cursor.execute(_SQL["holdings"], {"repo_id": account.id})).fetchall()
    async with conn.cursor(row_factory=class_row(Waiting)) as cursor:
        waiting = await (await cursor.execute(_SQL["waiting"], params)).fetchall()
    count = await (await conn.execute(_SQL["waiting_count"], params)).fetchone()
    oldest = await (await conn.execute(_SQL["oldest"])).fetchone()
    return Facts(
        account,
        holdings,
        waiting,
        0 if count is None else int(count[0]),
        await decisions.latest(conn, did, limit=limit),
        await seen(conn, did, limit=limit),
        None if oldest is None else oldest[0],
    )


async def seen(conn: Connection, did: Did, *, limit: int) -> list[Seen]:
    """The account's newest entries in the outbox, newest first."""
    found: list[Seen] = []
    for batch in await outbox.mentioning(conn, did, rows=limit):
        numbered = list(enumerate(batch.entries, batch.first_seq))
        found += [Seen(seq, batch.at, entry) for seq, entry in reversed(numbered) if entry.did == did]
    return found[:limit]


async def record(conn: Connection, repo_id: int, collection: Nsid, rkey: Rkey) -> Version | None:
    """One record as it stands, None if we never heard of it."""
    async with conn.cursor(row_factory=class_row(Version)) as cursor:
        params = {"repo_id": repo_id, "collection": collection, "rkey": rkey}
        return await (await cursor.execute(_SQL["record"], params)).fetchone()


def archive_question(did: Did, rkey: str | None = None) -> str:
    """What a person may ask the archive about an account, or about its records under this key."""
    key = "" if rkey is None else f" and rkey = '{rkey}'"
    return f"select * from event where did = '{did}'{key} order by seq"
