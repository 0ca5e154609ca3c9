"""What we know of a repo's history, and what we know that we missed.

Commits of a repo form a chain: each names the rev (`since`) and MST root (`prevData`) of the one
before it. Records are ordered by rev, so a commit may be applied whenever it comes; the chain only
tells whether everything came. It is kept as a head and a short list of gaps, the way TCP keeps
selective acknowledgements:

    seen r1, r2, r5          head r5, gap (r2 … r4]         desynchronized
    then r4 arrives          head r5, gap (r2 … r3]         desynchronized
    then r3 arrives          head r5, no gap                active

So frames may be duplicated and reordered in any way and the repo ends in the same state; what a
resync has to repair is known exactly. Pure: no I/O, no clock.

An account that moves may leave a host behind that writes on. What came of that is a fork: only a whole
read of the current host tells which part of our history is the repo's (`rebase` with a reach).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from firehose.events import Commit, Sync
from indexer.states import State
from lexicons.syntax import Cid, Rev

MOST_GAPS = 32  # beyond that the two oldest become one: less exact, never less true


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing: what leads from (`after`, `after_data`) to (`until`, `until_data`).

    `after` None: the beginning of the repo. `until` None: the later side named no predecessor,
    so only a resync can close it. `forked`: what came before may itself be of another history.
    """

    after: Rev | None
    after_data: Cid | None
    until: Rev | None
    until_data: Cid | None
    forked: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """Head (None: nothing seen yet) and gaps, oldest first."""

    rev: Rev | None = None
    data: Cid | None = None
    gaps: tuple[Gap, ...] = ()

    @property
    def state(self) -> State:
        if self.rev is None or (self.gaps and self.gaps[0].after is None):
            return State.PENDING
        return State.DESYNCHRONIZED if self.gaps else State.ACTIVE

    @classmethod
    def of(cls, rev: Rev | None, data: Cid | None, gaps: list[dict[str, Any]]) -> Chain:
        """The chain of a stored row, whose gaps are JSON by their fields' names."""
        return cls(rev, data, tuple(Gap(**gap) for gap in gaps))


def extend(chain: Chain, commit: Commit) -> Chain:
    """The chain after this commit, wherever in the history it belongs. A replay changes nothing."""
    if chain.rev is None or commit.rev > chain.rev:
        linked = (commit.since, commit.prev_data) == (chain.rev, chain.data)
        gaps = chain.gaps
        if not linked:
            gaps = (*gaps, Gap(chain.rev, chain.data, commit.since, commit.prev_data))
        return Chain(commit.rev, commit.data, _bounded(gaps))
    return replace(chain, gaps=tuple(part for gap in chain.gaps for part in _fill(gap, commit)))


def observe(chain: Chain, sync: Sync) -> Chain:
    """The chain after a verified `#sync` (rule C1): other data than ours is a gap up to it."""
    if chain.rev is not None and sync.rev <= chain.rev:
        return chain
    if chain.data == sync.data:
        return replace(chain, rev=sync.rev)
    return Chain(
        sync.rev, sync.data, _bounded((*chain.gaps, Gap(chain.rev, chain.data, sync.rev, sync.data)))
    )


def doubt(chain: Chain, *, forked: bool = False) -> Chain:
    """The chain once something after its head could not be proven: only a resync closes that gap. `forked`:
    what we hold may lie beyond the end of its host's history."""
    gap = Gap(chain.rev, chain.data, None, None, forked)
    if chain.rev is None or gap in chain.gaps:
        return chain
    return replace(chain, gaps=_bounded((*chain.gaps, gap)))


def is_foreign(rev: Rev, synced_rev: Rev | None, forked_rev: Rev | None) -> bool:
    """Whether a commit may be of a history that the repo's host does not have: up to `forked_rev` only what a
    whole read brought (it was at `synced_rev`) is known to be the repo's."""
    return forked_rev is not None and rev <= forked_rev and (synced_rev is None or rev > synced_rev)


def rebase(
    chain: Chain, rev: Rev, data: Cid, before: Collection[Gap] = (), reach: Rev | None = None
) -> Chain:
    """The chain once the whole repo was read at `rev`, with MST root `data`. `before` are the gaps that
    were known when the read began: what it brought is newer than those without an end. Whatever we have up
    to `reach` is not the repo's unless it was read.

    What was missing up to there is known now. Commits that came meanwhile and lie behind `rev` stay,
    with what is missing among them:

        head r9, gaps (… r3] (r5 … r8], read at r4     head r9, gap (r5 … r8]
        head r9, gap (r3 … r8], read at r5             head r9, gap (r5 … r8]
        head r5, gap (r3 …, read at r6                 head r6, no gap
        head r5, read at r3, reach r5                  head r3, no gap
        head r9, gap (r5 … r3], read at r3, reach r5   head r9, no gap
    """
    reach = max(rev, reach or rev)
    if chain.rev is None or chain.rev <= reach:
        return Chain(rev, data)
    kept: list[Gap] = []
    for gap in chain.gaps:
        if gap.until is None and gap in before:
            continue
        if gap.after is not None and (gap.after > reach or gap.after == rev):
            kept.append(gap)
        elif gap.until is None or gap.until > rev:
            kept.append(Gap(rev, data, gap.until, gap.until_data, gap.forked))
    return replace(chain, gaps=tuple(gap for gap in kept if not _closed(gap)))


def _fill(gap: Gap, commit: Commit) -> tuple[Gap, ...]:
    """What is left of a gap once this commit is known."""
    if gap.until is None or commit.rev > gap.until or (gap.after is not None and commit.rev <= gap.after):
        return (gap,)
    if commit.rev == gap.until and commit.data != gap.until_data:
        return (gap,)  # not the commit that the later one built upon
    before = Gap(gap.after, gap.after_data, commit.since, commit.prev_data)
    behind = Gap(commit.rev, commit.data, gap.until, gap.until_data)
    return tuple(part for part in (before, behind) if not _closed(part))


def _closed(gap: Gap) -> bool:
    return (gap.after, gap.after_data) == (gap.until, gap.until_data)


def _bounded(gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    if len(gaps) <= MOST_GAPS:
        return gaps
    first, second = gaps[:2]
    forked = first.forked or second.forked
    if first.until is None or second.until is None:
        return (Gap(first.after, first.after_data, None, None, forked), *gaps[2:])
    return (Gap(first.after, first.after_data, second.until, second.until_data, forked), *gaps[2:])
