"""Where a repo stands, and the one table of moves between those states.

    pending ──▶ resyncing ──▶ active ⇄ desynchronized ──▶ resyncing
                    │                                         ▲
                    └──▶ error ───────────────────────────────┘  (again, later)

`pending` and `desynchronized` say that something is missing and a resync is due; only the resyncer
says `resyncing` and `error`. A chain of commits that closes by itself (late frames, a repo seen from
its first commit on) leads to `active` from anywhere. A crash during a resync leaves `resyncing` with
a lease that runs out; its repo is then taken again. A deleted account begins anew: `pending`.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    PENDING = "pending"  # we never saw its beginning
    RESYNCING = "resyncing"  # being read whole, until its lease runs out
    ACTIVE = "active"  # everything came
    DESYNCHRONIZED = "desynchronized"  # something in the middle is missing
    ERROR = "error"  # the last resync failed; the next has a time


MOVES: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.RESYNCING, State.ACTIVE, State.DESYNCHRONIZED}),
    State.RESYNCING: frozenset({State.ACTIVE, State.DESYNCHRONIZED, State.PENDING, State.ERROR}),
    State.ACTIVE: frozenset({State.DESYNCHRONIZED, State.PENDING}),
    State.DESYNCHRONIZED: frozenset({State.RESYNCING, State.ACTIVE, State.PENDING}),
    State.ERROR: frozenset({State.RESYNCING, State.ACTIVE, State.PENDING}),
}


class IllegalMove(Exception):
    """A repo was about to go from one state to another that does not follow it."""


def move(before: State, after: State) -> State:
    """`after`, if a repo may go there from `before` or stays where it is."""
    if after is not before and after not in MOVES[before]:
        raise IllegalMove(f"{before} → {after}")
    return after
