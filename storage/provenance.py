"""Reads that say where what we hold comes from: the proof of a record, the story of a repo."""

from __future__ import annotations

from dataclasses import dataclass

from storage.queries import load
from storage.reader import Cell, Reads

_SQL = load("provenance")
STATEMENTS = {f"provenance_{name}": _SQL[name] for name in ("record", "repo")}

_UTC = b'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'


@dataclass(frozen=True, slots=True)
class Proven:
    """A record's block, the CAR slice of the commit that wrote it (None where none was kept), and the
    origin of the PDS that has the whole repo."""

    block: bytes
    car: bytes | None
    pds: str | None


async def record(reads: Reads, did: str, collection: str, rkey: str) -> Proven | None:
    """The record, if it may be shown."""
    rows = await reads.fetch("provenance_record", did.encode(), collection.encode(), rkey.encode())
    if not rows.count:
        return None
    car, pds = rows.cell(0, 1), rows.cell(0, 2)
    return Proven(
        block=_bytes(rows.cell(0, 0)),
        car=None if car is None else _bytes(car),
        pds=None if pds is None else pds.decode(),
    )


async def repo(reads: Reads, actor: str, *, decisions: int) -> bytes | None:
    """A JSON object with all that we know about the account with this DID or handle."""
    name = actor if actor.startswith("did:") else actor.lower()
    rows = await reads.fetch("provenance_repo", name.encode(), b"%d" % decisions, _UTC)
    return rows.cell(0, 0) if rows.count else None


def _bytes(cell: Cell) -> bytes:
    """Postgres' text of a bytea."""
    return bytes.fromhex((cell or b"\\x").decode()[2:])
