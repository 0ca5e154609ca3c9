"""Counts of what was judged, by month. Nobody is in them: no name, no note, no subject."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from storage.queries import load
from storage.reader import Cell, Reads

STATEMENTS = {f"transparency_{name}": sql for name, sql in load("transparency").items()}


class What(StrEnum):
    """OPENED and DECIDED: cases, by how they came. DONE: actions, by their name. TOOK: how long a decision
    took."""

    OPENED = "opened"
    DECIDED = "decided"
    DONE = "done"
    TOOK = "took"


@dataclass(frozen=True, slots=True)
class Tally:
    """`month` as YYYY-MM. `kind`: how a case came, or which action. `resolution`: of what is decided;
    `median_s`: of what took time."""

    month: str
    what: What
    kind: str
    resolution: str | None
    count: int
    median_s: float | None


async def tallies(reads: Reads, actions: Iterable[str]) -> list[Tally]:
    """In no order. `actions`: those that are counted. Raises ReadFailed."""
    rows = await reads.fetch("transparency_tallies", b"{%b}" % ",".join(actions).encode())
    return [
        Tally(
            _text(rows.cell(i, 0)),
            What(_text(rows.cell(i, 1))),
            _text(rows.cell(i, 2)),
            None if rows.cell(i, 3) is None else _text(rows.cell(i, 3)),
            int(rows.cell(i, 4) or 0),
            None if rows.cell(i, 5) is None else float(rows.cell(i, 5) or 0),
        )
        for i in range(rows.count)
    ]


def _text(cell: Cell) -> str:
    return (cell or b"").decode()
