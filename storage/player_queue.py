"""Table `queue`: what somebody listens to next, the same on all of their devices.

Contract: each write counts the revision up by one, and one that expects a revision is written only in its
place. Example: two devices have revision 4. Both write, expecting 4: one gets 5, the other is told, and reads
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from lexicons.syntax import Did
from storage.feed import REST_CELLS, Tracks, rest_statement, rest_tracks, text_array
from storage.forgotten import expect_stays
from storage.postgres import Connection
from storage.queries import load
from storage.reader import Reads

_SQL = load("player_queue")

MOST_TRACKS = 2000  # that are shown with it


def _tracks(file_ids: str) -> str:
    return rest_statement(_SQL["tracks"].replace("{file_ids}", file_ids))


STATEMENTS = {
    "player_queue_of": _SQL["of"].replace("{tracks}", _tracks(f"(select file_ids[:{MOST_TRACKS}] from own)")),
    "player_queue_tracks": _tracks("$2::text[]"),
}
_BEGIN, _HEX = b'"track_ids":["', b"0123456789abcdef"


class _State(msgspec.Struct):
    track_ids: msgspec.Raw = msgspec.Raw(b"")


_DECODER = msgspec.json.Decoder(_State)


@dataclass(frozen=True, slots=True)
class Queue:
    """`state`: a JSON object as text, None where nothing was ever written, at revision 0. `auto_advance`:
    what the account chose, None: nothing."""

    state: bytes | None
    revision: int
    auto_advance: bool | None


async def of(reads: Reads, did: str) -> tuple[Queue, Tracks | None]:
    """An account's queue, with what `tracks` would tell of it; None where the statement did not find what is
    in it, and they are to be asked for."""
    rows = await reads.fetch("player_queue_of", did.encode())
    state, revision, auto = (rows.cell(0, REST_CELLS + n) for n in range(3))
    queue = Queue(state, int(revision or 0), None if auto is None else auto == b"t")
    return queue, rest_tracks(rows) if state is None or _is_plain(state) else None


async def put(conn: Connection, did: Did, state: bytes, expected: Sequence[int] | None) -> Queue | None:
    """The queue after a write in place of one of the revisions `expected`, None: of any. None: it is another
    one by now. Raises Left."""
    params = {"did": did, "state": state.decode(), "expected": None if expected is None else list(expected)}
    row = await (await conn.execute(_SQL["put"], params)).fetchone()
    if row is None:
        await expect_stays(conn, did)
        return None
    return Queue(state, row[0], row[1])


async def tracks(reads: Reads, viewer: str | None, file_ids: Sequence[str]) -> Tracks:
    """Of each of these sounds a track that has it, in their order; those that cannot be shown are absent.
    Several accounts may have the same sound: the first of their tracks stands for it."""
    who = None if viewer is None else viewer.encode()
    return rest_tracks(await reads.fetch("player_queue_tracks", who, text_array(file_ids)))


async def erase(conn: Connection, did: Did) -> None:
    """Of an account that is deleted, in the caller's transaction."""
    await conn.execute(_SQL["erase"], {"did": did})


def _is_plain(state: bytes) -> bool:
    """Whether what statement `of` takes for the sounds in a state are those: what it finds is the member
    `track_ids`, and a list of hexadecimal numbers without a space, as programs write it."""
    told = bytes(_DECODER.decode(state).track_ids)
    at = state.find(_BEGIN)
    if at < 0:
        return told in (b"", b"[]")
    shape = told.translate(None, _HEX)
    plain = b'[""%b]' % (b',""' * (len(shape) // 3 - 1))
    return shape == plain and state.startswith(told, at + len(_BEGIN) - 2)
