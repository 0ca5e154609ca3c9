"""What changed records do to the counters of tracks. Pure.

Counters follow changed rows only: a like counts when the first like of that account for that track
appears and until the last one goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from indexer.decide import Change
from lexicons.catalog import Collections
from lexicons.records import Comment, Like
from lexicons.syntax import AtUri, Rkey
from storage.social import LikeKey, Pair
from storage.tracks import StatDelta


def pairs_of(changed: Iterable[Change], ids: Mapping[AtUri, int], collections: Collections) -> set[Pair]:
    """The (account, track) pairs whose likes must be known to count them right."""
    pairs: set[Pair] = set()
    for x in changed:
        if x.candidate.collection == collections.like:
            pairs.update(Pair(x.repo.id, ids[uri]) for uri in x.candidate.subjects.values())
            if x.was is not None:
                pairs.add(Pair(x.repo.id, ids[x.was]))
    return pairs


def counts_of(
    changed: Iterable[Change],
    ids: Mapping[AtUri, int],
    likes: Mapping[Pair, set[Rkey]],
    collections: Collections,
) -> list[StatDelta]:
    """What the changes do to the counters. `likes` holds what `pairs_of` asked for, as it was before them."""
    counter = _Counter({pair: set(rkeys) for pair, rkeys in likes.items()})
    for x in changed:
        c, repo, visible = x.candidate, x.repo, not x.repo.hidden
        if x.was is not None:
            if c.collection == collections.like:
                counter.unlike(LikeKey(repo.id, ids[x.was], c.rkey), visible)
            else:
                counter.comment(ids[x.was], -1, visible)
        subject = c.subjects.get(0)
        if subject is not None and isinstance(c.record, Like):
            counter.like(LikeKey(repo.id, ids[subject], c.rkey), visible)
        elif subject is not None and isinstance(c.record, Comment):
            counter.comment(ids[subject], +1, visible)
    return counter.deltas()


class _Counter:
    """Net changes of the counters while a batch is worked through."""

    def __init__(self, likes: dict[Pair, set[Rkey]]) -> None:
        self._likes = likes
        self._net: dict[int, list[int]] = {}

    def _add(self, track_id: int, likes: int, comments: int, visible: bool) -> None:
        if visible:
            net = self._net.setdefault(track_id, [0, 0])
            net[0] += likes
            net[1] += comments

    def like(self, row: LikeKey, visible: bool) -> None:
        rkeys = self._likes.setdefault(Pair(row.repo_id, row.track_id), set())
        if not rkeys:
            self._add(row.track_id, +1, 0, visible)
        rkeys.add(row.rkey)

    def unlike(self, key: LikeKey, visible: bool) -> None:
        rkeys = self._likes.setdefault(Pair(key.repo_id, key.track_id), set())
        if rkeys == {key.rkey}:
            self._add(key.track_id, -1, 0, visible)
        rkeys.discard(key.rkey)

    def comment(self, track_id: int, change: int, visible: bool) -> None:
        self._add(track_id, 0, change, visible)

    def deltas(self) -> list[StatDelta]:
        return [StatDelta(id, *net) for id, net in sorted(self._net.items()) if any(net)]
