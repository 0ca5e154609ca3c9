"""The first thing that a batch asks of Postgres: repos in step move on, and new records are added.

Contract: whoever is in `Intake.repos` is locked until the transaction ends, is at the end of its run,
and has all of its records of the batch that nobody held before. Whoever is not was not touched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NewType

from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey
from storage.postgres import Asked, Connection, as_json
from storage.queries import load

_SQL = load("intake")

Packed = NewType("Packed", str)  # rows as they travel: they may be put together long before they are sent


@dataclass(frozen=True, slots=True)
class Run:
    """Commits of one repo that continue one another, from what was before the first to what is after the
    last."""

    did: Did
    since: Rev
    prev_data: Cid
    rev: Rev
    data: Cid


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A version of a record, `n` its number in the batch. `cid` and `block` None: deleted."""

    n: int
    did: Did
    collection: Nsid
    rkey: Rkey
    rev: Rev
    cid: Cid | None
    block: bytes | None
    verified: bool
    invalid: str | None


@dataclass(frozen=True, slots=True)
class Repo:
    """What must be known of an account to write its records. Its row is locked."""

    id: int
    did: Did
    pds: str | None
    hidden: bool
    withheld: Collection[str] = ()  # sha-256 in hex of bytes of theirs that we took down


@dataclass(frozen=True, slots=True)
class Intake:
    """`held`: numbers of the records whose keys we hold already, in some version."""

    repos: dict[Did, Repo]
    held: set[int]


def pack(rows: Sequence[Run] | Sequence[NewRecord]) -> Packed:
    return Packed(as_json(rows))


async def advance(conn: Connection, runs: Packed, rows: Packed, host: str | None) -> Asked[Intake]:
    """Move repos in step along their runs and add their records. Rows of other accounts are passed over, and
    of those that are not at home at `host`, if the source is one."""
    params = {"runs": runs, "rows": rows, "host": host}
    return Asked(await conn.execute(_SQL["advance"], params), _intake)


async def add(conn: Connection, rows: Packed) -> Asked[set[int]]:
    """Add the records of repos that the caller has locked; the answer is who was held already."""
    return Asked(await conn.execute(_SQL["add"], {"rows": rows}), lambda found: {n for (n,) in found})


def _intake(found: Sequence[tuple[Any, ...]]) -> Intake:
    repos = {
        did: Repo(id, did, pds, hidden, withheld or ())
        for id, did, pds, hidden, withheld, _ in found
        if did is not None
    }
    return Intake(repos, {n for *_, n in found if n is not None})
