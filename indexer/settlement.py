"""Where a repo stands once it was read whole. Pure.

Read at rev R, nothing up to R is missing any more; commits that came meanwhile and lie behind R keep what is
missing among them (`chain.rebase`). Three things leave a doubt: somebody told of newer records than the
host has; the host has no more than we had when we were told that something is missing; and it has less
than we hold after the account moved, or where a sweep found that. Asked again and standing by it
(`Snapshot.reach`), the host is right.
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
    Where nothing was ever proven, nothing was read; and a host that stands by an older tree has no other."""
    return rev is not None and synced_rev is not None and snapshot.upto < synced_rev


def settle(s: Snapshot, standing: Standing, tally: Tally, *, hearsay: bool) -> Settlement:
    """What to write of a repo that was read, its records apart.

    `hearsay`: we hold something newer that nobody proved, and that this read could not prove either.
    """
    rev, did = s.head.rev, s.due.did
    chain = Chain.of(standing.rev, standing.data, standing.gaps or [])
    before = Chain.of(s.due.rev, s.due.data, s.due.gaps or []).gaps
    endless = [gap for gap in before if gap.until is None]
    short = s.due.forked and s.due.rev is not None and s.upto < s.due.rev
    synced, forked_rev = max(rev, standing.synced_rev or rev), standing.forked_rev
    said: list[Entry] = []
    doubts = outcome.short(s.due, rev, s.origin) if short else None
    if not outdated(s, standing.rev, standing.synced_rev):
        chain = rebase(chain, rev, s.head.data, before, s.upto)
        detail: dict[str, Any] = {"data": s.head.data, "cid": s.head.cid}
        if endless:
            detail["before"] = [[gap.after, gap.after_data, gap.forked] for gap in endless]
        if s.reach is not None:
            detail |= {"over": s.reach.rev, "forked": s.reach.proven}
            forked_rev = max(s.reach.rev, forked_rev or s.reach.rev)
            synced = rev if s.reach.proven else synced
        said.append(Entry(Kind.RESYNC, s.origin, did=did, rev=rev, reason=str(tally), detail=detail))
        unproven = any(not gap.forked for gap in endless)
        nothing_new = unproven and s.due.rev is not None and rev <= s.due.rev
        doubts = doubts or outcome.doubts(s.due, rev, s.origin, hearsay=hearsay, nothing_new=nothing_new)
    if doubts is not None:
        chain = doubt(chain, forked=short)
        forked = {"forked": True} if short else None
        said.append(Entry(Kind.DOUBT, s.origin, did=did, verdict="resync", reason=doubts, detail=forked))
    assert chain.rev is not None
    assert chain.data is not None
    stood = State(standing.state)
    state = move(stood if stood is State.ACTIVE else State.RESYNCING, chain.state)
    lack = doubts or outcome.lack(rev, s.origin, chain)
    tries = s.due.tries + 1 if lack else 0
    due_s = outcome.backoff_s(tries) if lack else None
    row = Done(s.due.id, chain.rev, chain.data, chain.gaps, state, synced, forked_rev, due_s, tries, lack)
    reason = outcome.read_whole(rev, s.origin, tally, lack)
    said.append(Entry(Kind.STATE, s.origin, did=did, rev=rev, verdict=state, reason=reason))
    return Settlement(row, Decision(did, "resync", state, reason, s.origin), said)
