"""Reads of `session` by the key that somebody shows, on the pipelined connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lexicons.syntax import Did, Rev
from storage.queries import load
from storage.reader import Cell, Question, Reads, Rows

_SQL = load("viewers")
STATEMENTS = {f"viewers_{name}": _SQL[name] for name in ("viewer", "holder", "session")}


@dataclass(frozen=True, slots=True)
class Viewer:
    """`rev`: up to there all that the account wrote is here, None if that is unknown. It never goes back."""

    did: Did
    session_id: int
    stale: bool
    rev: Rev | None


class Holder(NamedTuple):
    """Whose key it is."""

    did: Did
    session_id: int
    stale: bool


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its holder sees it. `browser` is shared by the accounts of one browser; `ended` is why it
    opens nothing any more. `granted`: it can act at the person's PDS. `stale`: that it is in use is worth
    writing down again; `aged`: it is older than a day."""

    id: int
    kind: str
    did: Did
    handle: str | None
    browser: int
    scope: str
    granted: bool
    ended: str | None
    stale: bool
    aged: bool


async def viewer(reads: Reads, token_hash: bytes) -> Viewer | None:
    return viewer_of(await reads.fetch("viewers_viewer", _bytea(token_hash)))


def asking_viewer(token_hash: bytes) -> Question:
    """The question whose answer `viewer_of` reads."""
    return "viewers_viewer", (_bytea(token_hash),)


def viewer_of(rows: Rows) -> Viewer | None:
    """Whose key it is, if it opens anything."""
    if not rows.count:
        return None
    get = rows.cell
    return Viewer(
        Did(_text(get(0, 0))),
        int(get(0, 1) or 0),
        get(0, 2) == b"t",
        Rev(_text(get(0, 3))) if get(0, 3) else None,
    )


def asking_holder(token_hash: bytes) -> Question:
    """The question whose answer `holder` reads."""
    return "viewers_holder", (_bytea(token_hash),)


def holder(rows: Rows) -> Holder | None:
    """Whose key it is, if it opens anything."""
    get = rows.cell
    return Holder(Did(_text(get(0, 0))), int(get(0, 1) or 0), get(0, 2) == b"t") if rows.count else None


async def session(reads: Reads, token_hash: bytes) -> Session | None:
    """The session with this key, whether it still opens anything or not."""
    rows = await reads.fetch("viewers_session", _bytea(token_hash))
    if not rows.count:
        return None
    get = rows.cell
    return Session(
        id=int(get(0, 0) or 0),
        kind=_text(get(0, 1)),
        did=Did(_text(get(0, 2))),
        handle=_optional(get(0, 3)),
        browser=int(get(0, 4) or 0),
        scope=_text(get(0, 5)),
        granted=get(0, 6) == b"t",
        ended=_optional(get(0, 7)),
        stale=get(0, 8) == b"t",
        aged=get(0, 9) == b"t",
    )


def _bytea(value: bytes) -> bytes:
    return b"\\x" + value.hex().encode()


def _text(cell: Cell) -> str:
    return (cell or b"").decode()


def _optional(cell: Cell) -> str | None:
    return None if cell is None else cell.decode()
