"""Table `commit_proof`: the CAR slices that prove our records, by the commit that wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from lexicons.syntax import Rev
from storage.postgres import Connection, as_json
from storage.queries import load

_SQL = load("proofs")


class Proof(NamedTuple):
    repo_id: int
    rev: Rev
    car: bytes


async def add(conn: Connection, proofs: Sequence[Proof]) -> None:
    """Keep what came with these commits; one that is here already stays."""
    starts = accumulate((len(p.car) for p in proofs), initial=1)  # SQL counts from one
    rows = [
        {"repo_id": p.repo_id, "rev": p.rev, "start": start, "size": len(p.car)}
        for p, start in zip(proofs, starts, strict=False)
    ]
    params = {"rows": as_json(rows), "cars": b"".join(p.car for p in proofs)}
    await conn.execute(_SQL["add"], params)


async def sweep(conn: Connection, repo_ids: Sequence[int]) -> int:
    """Remove proofs of versions that were replaced or deleted. Returns how many those were.

    The caller has locked the repos: a proof that is being added is of a version that is, too.
    """
    return (await conn.execute(_SQL["sweep"], {"repo_ids": list(repo_ids)})).rowcount
