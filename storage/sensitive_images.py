"""Table `sensitive_image`: images that are in sight, and that not everybody wants to see."""

from __future__ import annotations

from dataclasses import dataclass

from lexicons.syntax import Did
from storage.postgres import Connection
from storage.queries import load
from storage.reader import Reads

_SQL = load("sensitive_images")

STATEMENTS = {f"sensitive_{name}": sql for name, sql in load("sensitive_image_reads").items()}


@dataclass(frozen=True, slots=True)
class Sensitive:
    """`sha256` in hex. `here`: the bytes are ours to serve."""

    sha256: str
    did: Did
    here: bool


async def mark(conn: Connection, did: Did, sha256: str, reason: str | None) -> None:
    """Say why an image of an account is sensitive; None: it is not. In the caller's transaction."""
    params = {"did": did, "sha256": sha256, "reason": reason}
    await conn.execute(_SQL["unmark" if reason is None else "mark"], params)


async def all(reads: Reads) -> list[Sensitive]:
    """In order of their hashes."""
    rows = await reads.fetch("sensitive_all")
    return [
        Sensitive(
            (rows.cell(i, 0) or b"").decode(), Did((rows.cell(i, 1) or b"").decode()), rows.cell(i, 2) == b"t"
        )
        for i in range(rows.count)
    ]
