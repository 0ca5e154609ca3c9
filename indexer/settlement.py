"""Where a repo stands once it was read whole. Pure.

Read at rev R, nothing up to R is missing any more; commits that came meanwhile and lie behind R keep what is
missing among them (`chain.rebase`). Two things leave a doubt: somebody told of newer records than the
host has, and the host has no more than we had when we were told that something is missing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from indexer import outcome
from indexer.chain import Chain, doubt, rebase
from indexer.outcome import Tally
from indexer.snapshot import Snapshot
from indexer.states import State, move
from lexicons.syntax import Rev
from storage.decisions import Decision
from storage.outbox import Entry, Kind
from storage.repos import Standing
from storage.sync import Done


class Settlement(NamedTuple):
    """The repo's row, the decision, and what the outbox is told after the records."""

    row: Done
    decision: Decision
    said: list[Entry]


def outdated(snapshot: Snapshot, rev: Rev | None, synced_rev: Rev | None) -> bool:
    """Whether a read before brought something newer. What was made and deleted in between left no trace
    here, so an older tree would bring it back (T14).
    Where nothing was ever proven, nothing was read."""
    return rev is not None and synced_rev is not None and snapshot.head.rev < synced_rev


def settle(s: Snapshot, standing: Standing, tally: Tally, *, hearsay: bool) -> Settlement:
    """What to write of a repo that was read, its records apart.

    `hearsay`: we hold something newer that nobody proved, and that this read could not prove either.
    """
    rev, did = s.head.rev, s.due.did
    chain = Chain.of(standing.rev, standing.data, standing.gaps or [])
    before = Chain.of(s.due.rev, s.due.data, s.due.gaps or []).gaps
    endless = [[gap.after, gap.after_data] for gap in before if gap.until is None]
    said: list[Entry] = []
    doubts = None
    if not outdated(s, standing.rev, standing.synced_rev):
        chain = rebase(chain, rev, s.head.data, before)
        detail: dict[str, Any] = {"data": s.head.data, "cid": s.head.cid}
        if endless:
            detail["before"] = endless
        said.append(Entry(Kind.RESYNC, s.origin, did=did, rev=rev, reason=str(tally), detail=detail))
        nothing_new = bool(endless) and s.due.rev is not None and rev <= s.due.rev
        doubts = outcome.doubts(s.due, rev, s.origin, hearsay=hearsay, nothing_new=nothing_new)
    if doubts is not None:
        chain = doubt(chain)
        said.append(Entry(Kind.DOUBT, s.origin, did=did, verdict="resync", reason=doubts))
    assert chain.rev is not None
    assert chain.data is not None
    stood = State(standing.state)
    state = move(stood if stood is State.ACTIVE else State.RESYNCING, chain.state)
    lack = doubts or outcome.lack(rev, s.origin, chain)
    tries = s.due.tries + 1 if lack else 0
    due_s = outcome.backoff_s(tries) if lack else None
    synced = max(rev, standing.synced_rev or rev)
    row = Done(s.due.id, chain.rev, chain.data, chain.gaps, state, synced, due_s, tries, lack)
    reason = outcome.read_whole(rev, s.origin, tally, lack)
    said.append(Entry(Kind.STATE, s.origin, did=did, rev=rev, verdict=state, reason=reason))
    return Settlement(row, Decision(did, "resync", state, reason, s.origin), said)
