"""Tables `label`, `label_head` and `label_key`: what we say of others, and what we sign it with.

Contract: seqs are dense and appear in the order of commit. A reader that has seen `seq` misses nothing by
asking for what comes after it. Whoever adds holds the head's row until the commit: add last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from psycopg.rows import class_row

from storage.postgres import Connection
from storage.queries import load
from storage.reader import Reads, Rows

_SQL = load("labels")
STATEMENTS: dict[str, str] = {**load("label_reads")}
CHANNEL = "plyr_label"  # NOTIFY at each commit, payload: the seq

# Any 64-bit number that no other use of advisory locks here has.
_LOCK_KEY = 0x706C7972_0000004C


@dataclass(frozen=True, slots=True)
class KeyRow:
    """`public`: did:key; `secret`: sealed."""

    id: int
    public: str
    secret: bytes


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label with its signature, made with the key `key_id`. `cts` and `exp` are as they were signed."""

    seq: int
    uri: str
    cid: str | None
    val: str
    neg: bool
    cts: str
    exp: str | None
    src: str
    key_id: int
    sig: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Labels in order of seq; `newest_key` signs now, 0 if there is no label."""

    rows: list[LabelRow]
    newest_key: int


async def newest_key(conn: Connection) -> KeyRow | None:
    async with conn.cursor(row_factory=class_row(KeyRow)) as cursor:
        await cursor.execute(_SQL["keys_newest"])
        return await cursor.fetchone()


async def add_key(conn: Connection, public: str, secret: bytes) -> None:
    await conn.execute(_SQL["keys_add"], {"public": public, "secret": secret})


async def lock_keys(conn: Connection) -> None:
    """Wait for everybody else who makes a key, until the end of the transaction."""
    await conn.execute(_SQL["keys_lock"], {"key": _LOCK_KEY})


async def take_seq(conn: Connection) -> int:
    """The next seq. It has to be used: from here to the commit nobody else adds."""
    row = await (await conn.execute(_SQL["take"])).fetchone()
    assert row is not None
    return int(row[0])


async def latest_cts(conn: Connection, uri: str, val: str) -> str | None:
    """When the last label of this value was put on it, or taken off it."""
    row = await (await conn.execute(_SQL["latest"], {"uri": uri, "val": val})).fetchone()
    return None if row is None else str(row[0])


async def last_src(conn: Connection) -> str | None:
    """As whom the last label was said."""
    row = await (await conn.execute(_SQL["last_src"])).fetchone()
    return None if row is None else str(row[0])


async def add(conn: Connection, row: LabelRow) -> None:
    await conn.execute(_SQL["add"], {name: getattr(row, name) for name in LabelRow.__slots__})


async def renew(conn: Connection, key_id: int, sigs: Sequence[tuple[int, bytes]]) -> None:
    """Replace signatures (seq, sig) that an older key made."""
    params = {"key_id": key_id, "seqs": [seq for seq, _ in sigs], "sigs": [sig for _, sig in sigs]}
    await conn.execute(_SQL["renew"], params)


async def active(conn: Connection, uris: Sequence[str], sources: Sequence[str]) -> list[LabelRow]:
    """What these sources say of these URIs now: negated and expired labels are none."""
    async with conn.cursor(row_factory=class_row(LabelRow)) as cursor:
        await cursor.execute(_SQL["active"], {"uris": list(uris), "sources": list(sources)})
        return await cursor.fetchall()


async def after(reads: Reads, seq: int, *, limit: int) -> Page:
    """All that was said after `seq`, in order, at most `limit`."""
    return _page(await reads.fetch("labels_after", b"%d" % seq, b"%d" % limit))


async def head(reads: Reads) -> int:
    """The seq up to which everything was committed."""
    return int((await reads.fetch("labels_head")).cell(0, 0) or 0)


async def public_key(reads: Reads) -> str | None:
    """The did:key of what signs now."""
    found = await reads.fetch("labels_key")
    return (found.cell(0, 0) or b"").decode() if found.count else None


async def query(
    reads: Reads,
    uris: Sequence[str],
    beginnings: Sequence[str],
    sources: Sequence[str] | None,
    *,
    after: int,
    limit: int,
) -> Page:
    """Active labels on these URIs, or on any that begins like this; `sources` None: of everybody."""
    wanted = None if sources is None else orjson.dumps(sources)
    found = await reads.fetch(
        "labels_query", orjson.dumps(uris), orjson.dumps(beginnings), b"%d" % after, wanted, b"%d" % limit
    )
    return _page(found)


def _page(found: Rows) -> Page:
    rows: list[LabelRow] = []
    for i in range(found.count):
        fields = orjson.loads(found.cell(i, 0) or b"")
        rows.append(LabelRow(**(fields | {"sig": bytes.fromhex(fields["sig"])})))
    return Page(rows, int(found.cell(0, 1) or 0) if rows else 0)
