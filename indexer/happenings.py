"""What a batch tells the outbox: pure, from what was decided to entries in order of arrival."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from firehose.events import Commit, Sync
from indexer.decide import Change
from indexer.prepare import Candidate, Doubt, Prepared
from lexicons.syntax import Did, Nsid, Rev, Rkey
from storage.intake import Repo
from storage.outbox import Entry, Kind
from storage.proofs import Proof
from storage.rejected import Rejection
from storage.repos import NewRepo, Standing
from storage.tracks import Names


def tracked(ids: Mapping[Did, int], new: Iterable[NewRepo], source: str) -> list[Entry]:
    """Accounts that are tracked from now on, with the numbers that they got."""
    return [
        Entry(
            Kind.REPO,
            source,
            did=repo.did,
            detail={"id": ids[repo.did], "pds": repo.pds, "signing_key": repo.signing_key},
        )
        for repo in new
        if repo.did in ids
    ]


def named(names: Names, source: str) -> Iterator[Entry]:
    """Track URIs and lists that got their numbers."""
    for uri in names.added:
        yield Entry(Kind.NAME, source, detail={"uri": uri, "id": names.ids[uri]})
    for uri, number in names.lists.items():
        yield Entry(Kind.NAME, source, detail={"uri": uri, "list": number})


def told(
    batch: Prepared,
    repos: Collection[Did],
    moved: Collection[int],
    standings: Mapping[Did, Standing],
    changed: Sequence[Change],
    source: str,
) -> Iterator[Entry]:
    """The events that moved a repo, each followed by its records: every version that was newer than what
    we held, also those that a later one in the batch replaced."""
    before = {_key(x.candidate): x.before for x in changed}
    seq: int | None = None
    for item in batch.log:
        if item.did not in repos:
            continue
        if isinstance(item, Candidate):
            key = _key(item)
            if key in before and (item.rev > (before[key] or "") or batch.newest[key] is item):
                yield record(item, source, seq)
            continue
        seq = item.seq
        if item.did not in standings or id(item) in moved:
            yield _move(item, source)


def record(c: Candidate, source: str, seq: int | None) -> Entry:
    """A record's new version."""
    verdict = "invalid" if c.invalid else "valid" if c.verified else "unverified"
    return Entry(
        Kind.RECORD,
        source,
        seq,
        c.did,
        c.rev,
        c.collection,
        c.rkey,
        c.action,
        c.cid,
        c.block,
        verdict,
        c.invalid,
        None if c.over is None else {"over": c.over},
    )


def _move(event: Commit | Sync | Doubt, source: str) -> Entry:
    match event:
        case Commit():
            detail = {
                "since": event.since,
                "cid": event.cid,
                "data": event.data,
                "prev_data": event.prev_data,
            }
            return Entry(Kind.COMMIT, source, event.seq, event.did, event.rev, detail=detail)
        case Sync():
            return Entry(Kind.SYNC, source, event.seq, event.did, event.rev, detail={"data": event.data})
        case Doubt():
            return Entry(Kind.DOUBT, source, event.seq, event.did, verdict=event.reason, reason=event.detail)


def refused(rejections: Iterable[Rejection]) -> Iterator[Entry]:
    """What could not be applied, whole."""
    for r in rejections:
        digest = hashlib.sha256(r.raw).hexdigest()
        yield Entry(
            Kind.REJECTED,
            r.source,
            r.seq,
            Did(r.did) if r.did else None,
            block=r.raw,
            verdict=r.reason,
            reason=r.detail,
            detail={"digest": digest},
        )


def proofs_of(batch: Prepared, changed: Sequence[Change]) -> list[Proof]:
    """The CAR slices of the commits that wrote what is there now."""
    wanted: dict[tuple[Did, Rev], Repo] = {
        (x.candidate.did, x.candidate.rev): x.repo for x in changed if x.candidate.cid is not None
    }
    found: dict[tuple[Did, Rev], Proof] = {}
    for item in batch.log:
        if isinstance(item, Commit) and item.proof is not None and (item.did, item.rev) in wanted:
            key = (item.did, item.rev)
            found[key] = Proof(wanted[key].id, item.rev, item.proof)
    return list(found.values())


def _key(c: Candidate) -> tuple[Did, Nsid, Rkey]:
    return c.did, c.collection, c.rkey
