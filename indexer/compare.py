"""What a repo's signed tree says against what we hold of it. Pure.

The tree at rev R is a snapshot, so of everything at or below R it knows better, and above R nothing:

    in the tree      held                    then
    CID a            nothing                 a at R
    CID a            CID b, rev ≤ R          a at R
    CID a            deleted, rev ≤ R        a at R     (written again; rule E6)
    CID a            CID a                   stays; one that nothing proved yet is a at R, proven
    not there        CID b, rev ≤ R          deleted at R
    not there        deleted                 stays; a delete that nothing proved yet is one at R
    whatever         rev > R                 stays

So a record that came, or went, while the tree was on its way keeps what the later commit said.

A host that was asked again and still is at R knows better beyond it, too, up to what we held when it
was asked (`Reach`): none of that is in its history.

    CID a            anything, R < rev ≤ reach       a at R
    not there        anything, R < rev ≤ reach       deleted at R
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from firehose.events import Action
from indexer.chain import Chain, Gap
from indexer.prepare import Candidate
from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey
from storage.sync import Held


class Found(NamedTuple):
    """A record in the tree."""

    collection: Nsid
    rkey: Rkey
    cid: Cid
    block: bytes


class Reach(NamedTuple):
    """Up to where a tree decides beyond its own rev. `proven`: also about what was signed, since the account
    may have had another host that writes on; else about hearsay alone."""

    rev: Rev
    proven: bool


def path(record: Found | Held) -> str:
    """What the tree is ordered by."""
    return f"{record.collection}/{record.rkey}"


def compare(
    found: Iterable[Found],
    held: Iterable[Held],
    did: Did,
    rev: Rev,
    reach: Reach | None = None,
    over: Rev | None = None,
) -> Iterator[Candidate]:
    """The differences as candidates at `rev`, unread, `over` what they must prevail over. Both sides are in
    the order of `path`."""

    def decides(held: Held) -> bool:
        return held.rev <= rev or (
            reach is not None and held.rev <= reach.rev and (reach.proven or not held.verified)
        )

    def gone(held: Held) -> bool:
        return decides(held) and (held.cid is not None or not held.verified or held.rev > rev)

    def deletion(held: Held) -> Candidate:
        return Candidate(did, held.collection, held.rkey, rev, None, None, action=Action.DELETE, over=over)

    ours = iter(held)
    mine = next(ours, None)
    for record in found:
        key = path(record)
        while mine is not None and path(mine) < key:
            if gone(mine):
                yield deletion(mine)
            mine = next(ours, None)
        known = None
        if mine is not None and path(mine) == key:
            known, mine = mine, next(ours, None)
        if known is None or (
            decides(known) and (known.cid != record.cid or not known.verified or known.rev > rev)
        ):
            action = Action.CREATE if known is None or known.cid is None else Action.UPDATE
            yield Candidate(
                did, record.collection, record.rkey, rev, record.cid, record.block, action=action, over=over
            )
    while mine is not None:
        if gone(mine):
            yield deletion(mine)
        mine = next(ours, None)


def undisturbed(before: Chain, now: Chain, rev: Rev) -> bool:
    """Whether no commit at or below `rev` can have been applied between these two looks at a repo.

    One that was may have brought a record that the tree no longer has: then it takes another comparison.
    """
    if before.rev != now.rev and (before.rev is None or before.rev < rev):
        return False
    return _missing(before, rev) == _missing(now, rev)


def _missing(chain: Chain, rev: Rev) -> list[Gap]:
    return [gap for gap in chain.gaps if gap.after is None or gap.after < rev]
