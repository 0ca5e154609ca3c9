"""Which records a batch really changes. Pure: what we hold in, versions out; `apply` reads before and writes
after.

Contract: for every record the version with the highest rev wins, whatever the order and number of
deliveries; a delete is a version, too (a tombstone with its rev). So

    create r1, delete r3, create r2 (late)   ends deleted, at r3
    create r1, delete r2, create r3          ends created, at r3

The one exception is what a whole read found to be of another history than the repo's: its version goes
`over` what we hold up to a higher rev.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from indexer.prepare import Candidate, Prepared, track_uri
from indexer.steps import current
from lexicons.catalog import Collections
from lexicons.datamodel import decode
from lexicons.syntax import AtUri, Did, Rev
from storage.intake import Repo
from storage.records import RecordKey, RecordRow, Stored
from storage.repos import Standing


@dataclass(frozen=True, slots=True)
class Change:
    """A record that really changes. `before` is the rev of the version or tombstone that we hold, and
    `was` the track that this version pointed at, if it was a like or comment of a track. `unlisted`: by our
    own decision it is listed nowhere."""

    repo: Repo
    candidate: Candidate
    before: Rev | None
    was: AtUri | None
    unlisted: bool = False


def changes(
    batch: Prepared,
    repos: Mapping[Did, Repo],
    standings: Mapping[Did, Standing],
    held: Container[int],
    stored: Mapping[RecordKey, Stored],
    collections: Collections,
) -> list[Change]:
    """The candidates that are new or beat what is stored. Records of accounts that we don't track fall
    away. `held` are the numbers of those whose key we hold in some version, which is in `stored`."""
    result: list[Change] = []
    for n, c in enumerate(batch.candidates):
        repo = repos.get(c.did)
        if repo is None or (c.did in standings and not current(c.rev, standings[c.did])):
            continue
        if n not in held:
            result.append(Change(repo, c, None, None))
            continue
        old = stored[RecordKey(repo.id, c.collection, c.rkey)]
        if old.rev > (c.over or c.rev) or (old.rev == c.rev and not _overrules(c, old)):
            continue
        if old.taken_down is not None:
            result.append(Change(repo, withheld(c), old.rev, None))
            continue
        was = pointed_at(old, collections)
        result.append(Change(repo, c, old.rev, was, old.unlisted is not None))
    return result


def withheld(c: Candidate) -> Candidate:
    """The version of a record that is taken down: kept as it is, while what is made of it is what is made of
    a deleted one."""
    return msgspec.structs.replace(c, record=None, subjects={}, card=None)


def pointed_at(old: Stored, collections: Collections) -> AtUri | None:
    """The track that a like or comment in the tables is of."""
    if old.block is None or old.invalid is not None:
        return None
    if old.collection not in (collections.like, collections.comment):
        return None
    return track_uri(decode(old.block)["subject"]["uri"], collections)


def _overrules(c: Candidate, old: Stored) -> bool:
    """At the same rev what is proven overrules hearsay, and a record that is there the tombstone of a
    deleted account that came back. (A commit as old as that tombstone is not `current`.)"""
    return (c.verified and not old.verified) or (old.block is None and c.block is not None and c.verified)


def newer_rows(changed: Iterable[Change]) -> list[RecordRow]:
    """Rows of the changes whose key we hold already."""
    return [
        RecordRow(x.repo.id, c.collection, c.rkey, c.rev, c.cid, c.block, c.verified, c.invalid, c.over)
        for x in changed
        if x.before is not None
        for c in [x.candidate]
    ]


def mentioned(changed: Iterable[Change], collections: Collections) -> set[AtUri]:
    """Every track URI that these changes need a number for."""
    uris = {x.was for x in changed if x.was is not None}
    for x in changed:
        uris.update(x.candidate.subjects.values())
        if x.candidate.collection == collections.track:
            uris.add(x.candidate.uri)
    return uris
