"""Our labels: what we say of accounts and records, signed with a key of its own.

Contract: a label is in the table if and only if the transaction that emitted it was committed. Signing asks
nobody, so a decision, its effect and its label are one transaction. What is signed is the DAG-CBOR of exactly
the label's fields: no `sig`, no `$type`, no `neg` that is false (rule L1). A negation is a label of its own,
said later about the same URI and value (L4).

The newest key signs. After a rotation labels keep what the old key made of them until somebody reads them:
`Labels.renewed` signs them anew, with every other field as it was (L5). <https://atproto.com/specs/label>
"""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from appview.auth.keyring import KeyRing
from appview.messages import time_text
from appview.moderation.label_key import LabelKey
from lexicons.dagcbor import encode
from lexicons.syntax import Did, is_at_uri, is_cid, is_did
from storage import labels
from storage.labels import LabelRow
from storage.postgres import Connection

VERSION = 1
MAX_VAL_BYTES = 128


class NoLabel(ValueError):
    """Nothing that a label can say; the message tells why."""


class Labels:
    """Emits and signs as `src`. Keys of later rotations are found by themselves."""

    def __init__(self, ring: KeyRing, src: Did) -> None:
        self.src = src
        self._ring = ring
        self._key: tuple[int, LabelKey] | None = None

    async def begin(self, conn: Connection) -> None:
        """Makes the first key, if there is none. Raises CannotOpen."""
        if await labels.newest_key(conn) is None:
            async with conn.transaction():
                await labels.lock_keys(conn)
                if await labels.newest_key(conn) is None:
                    await rotate(conn, self._ring)
        await self._newest(conn)

    async def emit(
        self,
        conn: Connection,
        uri: str,
        val: str,
        *,
        cid: str | None = None,
        neg: bool = False,
        exp: datetime | None = None,
    ) -> int:
        """Says it in the caller's transaction, later than all that was said of this URI and value before; the
        seq. From here to the commit nobody else emits: do everything else first. Raises NoLabel."""
        check(uri, val, cid)
        key_id, key = await self._newest(conn)
        seq = await labels.take_seq(conn)
        before = await labels.latest_cts(conn, uri, val)
        said = LabelRow(
            seq=seq,
            uri=uri,
            cid=cid,
            val=val,
            neg=neg,
            cts=_later(datetime.now(UTC), before),
            exp=None if exp is None else time_text(exp.astimezone(UTC)),
            src=self.src,
            key_id=key_id,
            sig=b"",
        )
        await labels.add(conn, replace(said, sig=key.sign(signed_bytes(said))))
        return seq

    async def renewed(self, conn: Connection, rows: list[LabelRow]) -> list[LabelRow]:
        """The same labels, each with a signature of the newest key, which is kept."""
        key_id, key = await self._newest(conn)
        found = [
            row
            if row.key_id >= key_id or row.src != self.src
            else replace(row, key_id=key_id, sig=key.sign(signed_bytes(row)))
            for row in rows
        ]
        changed = [(new.seq, new.sig) for new, old in zip(found, rows, strict=True) if new is not old]
        if changed:
            await labels.renew(conn, key_id, changed)
        return found

    async def _newest(self, conn: Connection) -> tuple[int, LabelKey]:
        row = await labels.newest_key(conn)
        if row is None:
            await self.begin(conn)
            row = await labels.newest_key(conn)
            assert row is not None
        if self._key is None or self._key[0] != row.id:
            self._key = row.id, LabelKey(self._ring.open(row.secret))
        return self._key


async def rotate(conn: Connection, ring: KeyRing) -> str:
    """Make a key that signs from now on; its did:key."""
    key = LabelKey.make()
    await labels.add_key(conn, key.did_key, ring.seal(key.secret))
    return key.did_key


def check(uri: str, val: str, cid: str | None) -> None:
    """Raises NoLabel."""
    if not is_did(uri) and not is_at_uri(uri):
        raise NoLabel(f"{uri[:80]!r} is no DID and no at:// URI")
    if not 0 < len(val.encode()) <= MAX_VAL_BYTES:
        raise NoLabel(f"a label's value has 1 to {MAX_VAL_BYTES} bytes")
    if cid is not None and not is_cid(cid):
        raise NoLabel(f"{cid[:80]!r} is no CID")


def fields(row: LabelRow) -> dict[str, Any]:
    """What a label says, in the words of com.atproto.label.defs, unsigned."""
    said: dict[str, Any] = {
        "ver": VERSION,
        "src": row.src,
        "uri": row.uri,
        "val": row.val,
        "cts": row.cts,
    }
    if row.cid is not None:
        said["cid"] = row.cid
    if row.neg:
        said["neg"] = True
    if row.exp is not None:
        said["exp"] = row.exp
    return said


def signed_bytes(row: LabelRow) -> bytes:
    return encode(fields(row))


def to_json(row: LabelRow) -> dict[str, Any]:
    """The label with its signature, as JSON has bytes."""
    return {**fields(row), "sig": {"$bytes": base64.b64encode(row.sig).decode().rstrip("=")}}


def _later(now: datetime, before: str | None) -> str:
    """`now`, or the first millisecond after `before` where the clock is not yet there."""
    text = time_text(now)
    if before is None or text > before:
        return text
    return time_text(datetime.fromisoformat(before) + timedelta(milliseconds=1))
