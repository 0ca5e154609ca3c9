"""Table `outbox`: what happened, in the order of commit. One row a transaction, its entries packed.

Contract: an entry is there if and only if its effects are. Seqs are dense and appear in order: a
reader that has seen `last_seq` of a row misses nothing by asking for what comes after it. The last
statement of a transaction takes the seqs and holds their row until the commit, so

    A appends (seqs 1–3), B waits, A commits, B appends (seqs 4–9), B commits

Entries are facts that were decided, not what was heard: a replayed frame changes nothing and adds
nothing. Feeding them to empty tables in order of seq gives the tables again (`indexer.replay`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey
from storage.postgres import Connection
from storage.queries import load

_SQL = load("outbox")
CHANNEL = "plyr_outbox"  # NOTIFY at each commit, payload: the last seq


class Kind(StrEnum):
    """What an entry says. In `detail`, by kind:

    - REPO: an account is tracked from now on: `id`, `pds`, `signing_key`
    - NAME: a track URI got its number: `uri`, `id`; or a list did: `uri`, `list`
    - COMMIT: a verified commit moved the repo: `since`, `cid`, `data`, `prev_data`
    - SYNC: a verified `#sync` did: `data`
    - DOUBT: something of this repo could not be proven, only a resync can settle it; why is in `reason`.
      `forked`: what we hold may lie beyond the end of its PDS's history
    - RECORD: a record has a new version; `action`, and `cid` and `block` unless it was deleted.
      `verdict` valid, invalid (why: `reason`) or unverified (not proven yet). `over`: what was told of it
      before, up to that rev, was not the repo's
    - RESYNC: the repo was read whole at `rev`: `data`, `cid`; its differences are the RECORDs before it.
      `over`: up to that rev nothing else is the repo's (with `forked`, not even what was signed)
    - STATE: the repo's sync state is now `verdict`, for `reason`
    - ACCOUNT: how the account stands, as its current PDS says: `active`, `status`
    - IDENTITY: what its DID document says: `handle`, `pds`, `signing_key`
    - TAKEDOWN: our own decision: `verdict` down or up, why in `reason`. Of a record if it has a `collection`:
      `action` is what it comes to for those who follow, with `cid` and `block` of what is seen again
    - WITHHOLD: our own decision about bytes of an account: `cid`, `sha256`; `verdict` and `reason` likewise
    - LISTING: our own decision about a track: `verdict` unlisted or listed, why in `reason`
    - REJECTED: could not be applied: `verdict` the reason, `reason` the detail, `block` the raw frame,
      `digest` (hex) its name; DROPPED: the rejected event of that `digest` was applied or given up
    - FORGOTTEN: the account asked to be forgotten, and nothing of it is here any more: `hash`, the sha-256 of
      its DID in hex. The DID itself is for those who follow, and is not in the archive
    - ERASED: stands where an entry about such an account stood, and says nothing
    """

    REPO = "repo"
    NAME = "name"
    COMMIT = "commit"
    SYNC = "sync"
    DOUBT = "doubt"
    RECORD = "record"
    RESYNC = "resync"
    STATE = "state"
    ACCOUNT = "account"
    IDENTITY = "identity"
    TAKEDOWN = "takedown"
    WITHHOLD = "withhold"
    LISTING = "listing"
    REJECTED = "rejected"
    DROPPED = "dropped"
    FORGOTTEN = "forgotten"
    ERASED = "erased"


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One thing that happened. Its own seq is its place in the outbox."""

    kind: Kind
    source: str
    source_seq: int | None = None
    did: Did | None = None
    rev: Rev | None = None
    collection: Nsid | None = None
    rkey: Rkey | None = None
    action: str | None = None
    cid: Cid | None = None
    block: bytes | None = None
    verdict: str | None = None
    reason: str | None = None
    detail: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The entries of one transaction; `entries[n]` has seq `first_seq + n`. `at`: when they came."""

    first_seq: int
    last_seq: int
    at: datetime
    entries: list[Entry]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode


async def append(conn: Connection, entries: Sequence[Entry]) -> None:
    """The last statement of a transaction: from here to its commit nobody else appends."""
    if entries:
        await conn.execute(_SQL["append"], {"count": len(entries), "events": _encode(entries)})


async def after(conn: Connection, seq: int, *, rows: int) -> list[Batch]:
    """Up to `rows` batches that hold entries above `seq`, in order."""
    cursor = await conn.execute(_SQL["after"], {"seq": seq, "rows": rows})
    return [Batch(first, last, at, _decode(events)) for first, last, at, events in await cursor.fetchall()]


async def mentioning(conn: Connection, did: Did, *, rows: int) -> list[Batch]:
    """Up to `rows` of the newest batches that may hold entries of this account, newest first. Looks
    through all that is there: for a person who asks, not for a program that does so all day."""
    cursor = await conn.execute(_SQL["mentioning"], {"text": did.encode(), "rows": rows})
    return [Batch(first, last, at, _decode(events)) for first, last, at, events in await cursor.fetchall()]


async def bounds(conn: Connection) -> tuple[int, int]:
    """The lowest seq that is still here (one above the head if none is), and the head."""
    row = await (await conn.execute(_SQL["bounds"])).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


async def prune(conn: Connection, *, upto: int) -> int:
    """Remove the rows whose entries are all at or below `upto`. Returns how many those were."""
    return (await conn.execute(_SQL["prune"], {"upto": upto})).rowcount
