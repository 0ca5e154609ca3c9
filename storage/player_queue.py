"""Table `queue`: what somebody listens to next, the same on all of their devices.

Contract: each write counts the revision up by one, and one that expects a revision is written only in its
place. Example: two devices have revision 4. Both write, expecting 4: one gets 5, the other is told, and reads
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lexicons.syntax import Did
from storage.feed import REST, RestRow, rest_statement, text_array
from storage.postgres import Connection
from storage.queries import load
from storage.reader import Reads

_SQL = load("player_queue")

STATEMENTS = {"player_queue_of": _SQL["of"], "player_queue_tracks": rest_statement(_SQL["tracks"])}


@dataclass(frozen=True, slots=True)
class Queue:
    """`state`: a JSON object as text, None where nothing was ever written, at revision 0. `auto_advance`:
    what the account chose, None: nothing."""

    state: bytes | None
    revision: int
    auto_advance: bool | None


async def of(reads: Reads, did: str) -> Queue:
    rows = await reads.fetch("player_queue_of", did.encode())
    state, revision, auto = (rows.cell(0, n) for n in range(3))
    return Queue(state, int(revision or 0), None if auto is None else auto == b"t")


async def put(conn: Connection, did: Did, state: bytes, expected: Sequence[int] | None) -> Queue | None:
    """The queue after a write in place of one of the revisions `expected`, None: of any. None: it is another
    one by now."""
    params = {"did": did, "state": state.decode(), "expected": None if expected is None else list(expected)}
    row = await (await conn.execute(_SQL["put"], params)).fetchone()
    return None if row is None else Queue(state, row[0], row[1])


async def tracks(reads: Reads, viewer: str | None, file_ids: Sequence[str]) -> list[tuple[int, RestRow]]:
    """Of each of these sounds a track that has it, with its place among them; those that cannot be shown are
    absent. Several accounts may have the same sound: the first of their tracks stands for it."""
    who = None if viewer is None else viewer.encode()
    rows = await reads.fetch("player_queue_tracks", who, text_array(file_ids))
    places = [-int(rows.cell(i, 7) or 0) - 1 for i in range(rows.count)]
    return list(zip(places, REST.rows(rows, rows.count), strict=True))


async def erase(conn: Connection, did: Did) -> None:
    """Of an account that is deleted, in the caller's transaction."""
    await conn.execute(_SQL["erase"], {"did": did})
