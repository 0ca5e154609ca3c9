"""Snapshots into tables: what a repo's tree says is compared with what we hold and written, with where
the repo then stands.

Many small repos share a transaction. Each is compared under its lock, so nothing can come between. A
large one is compared outside of any lock and written in parts, each a transaction of versions that
hold by themselves; the last sets rev, data and state. If commits at or below its rev were applied
meanwhile, it is compared once more: one of them may have brought what the tree no longer has.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

from indexer import apply, happenings
from indexer.chain import Chain
from indexer.compare import Found, compare, path, undisturbed
from indexer.decide import Change
from indexer.outcome import Tally
from indexer.prepare import Candidate, Prepared, read
from indexer.settlement import outdated, settle
from indexer.snapshot import Snapshot, some
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Nsid, Rev
from storage import decisions, intake, outbox, proofs, repos, sync
from storage.intake import Repo
from storage.outbox import Entry
from storage.postgres import Connection, Pool
from storage.proofs import Proof
from storage.repos import Standing
from storage.sync import Held
from storage.tracks import Names

PART = 1000  # records of a large repo compared at once
PART_BYTES = 8 * 1024 * 1024
MOST_PASSES = 5

R = TypeVar("R", Found, Held)


class Unsettled(Exception):
    """Commits of an older time kept coming while a large repo was compared."""


@dataclass(slots=True)
class _Written:
    changed: list[Change]
    names: Names


def collections_of(catalog: Catalog) -> list[Nsid]:
    """What is read of a repo: our records, and the profile that ours fall back on."""
    return sorted((*catalog.collections.own, catalog.collections.bsky_profile))


async def merge(conn: Connection, snapshots: Sequence[Snapshot], catalog: Catalog) -> list[Snapshot]:
    """Write small repos, all in one transaction. Returns those that are stale before they were written:
    their account has left the host, or is gone, and they are due again."""
    by_did = {s.due.did: s for s in snapshots}
    wanted = collections_of(catalog)
    async with conn.pipeline(), conn.transaction():
        standings = await repos.lock(conn, by_did)
        valid = {did: s for did, s in by_did.items() if _current(s, standings.get(did))}
        held = await sync.held(conn, [s.due.id for s in valid.values()], wanted)
        batch = Prepared()
        for did, s in valid.items():
            if not outdated(s, standings[did].rev, standings[did].synced_rev):
                ours = sorted(held[s.due.id], key=path)
                over = s.over(standings[did].forked_rev)
                _collect(batch, compare(s.records or [], ours, did, s.head.rev, s.reach, over), catalog)
        out = await _write(conn, batch, {did: standings[did].repo for did in valid}, catalog)
        await _keep_proofs(conn, valid.values(), wanted, out.changed)
        by_repo = _by_did(out.changed)
        settled = [
            settle(
                s,
                standings[did],
                Tally.of(by_repo.get(did, [])),
                hearsay=any(not h.verified and h.rev > s.hearsay_upto for h in held[s.due.id]),
            )
            for did, s in valid.items()
        ]
        await sync.done(conn, [x.row for x in settled])
        await decisions.add(conn, [x.decision for x in settled])
        entries: list[Entry] = []
        for (did, s), x in zip(valid.items(), settled, strict=True):
            entries += (happenings.record(c.candidate, s.origin, None) for c in by_repo.get(did, []))
            entries += x.said
        await outbox.append(conn, [*happenings.named(out.names, _source(snapshots)), *entries])
    return [s for did, s in by_did.items() if did not in valid]


async def merge_large(pool: Pool, snapshot: Snapshot, catalog: Catalog, *, lease_s: float) -> bool:
    """Write a large repo. False if it is stale before it was written. Raises CommitRejected where the tree
    turns out to be incomplete, and Unsettled."""
    tally = Tally()
    for _ in range(MOST_PASSES):
        async with pool.connection() as reading, pool.connection() as writing, reading.transaction():
            await sync.one_view(reading)
            rev, data, gaps, synced_rev, forked_rev = await sync.chain(reading, snapshot.due.id)
            if outdated(snapshot, rev, synced_rev):
                return not await merge(writing, [snapshot], catalog)
            before = Chain.of(rev, data, gaps or [])
            async with aclosing(_parts(reading, snapshot, catalog, forked_rev)) as parts:
                async for part in parts:
                    done = await _write_part(writing, snapshot, part, catalog, lease_s)
                    if done is None:
                        return False
                    tally += done
            outcome_ = await _finish(writing, snapshot, before, tally, catalog)
        if outcome_ is not None:
            return outcome_
    raise Unsettled(f"{snapshot.due.did}: commits from before rev {snapshot.head.rev} kept coming")


async def _parts(
    conn: Connection, snapshot: Snapshot, catalog: Catalog, forked_rev: Rev | None
) -> AsyncGenerator[list[Candidate]]:
    """The differences of a large repo, some at a time, neither side ever in memory."""
    wanted = collections_of(catalog)
    found = snapshot.found(wanted)
    known = snapshot.due.did, snapshot.head.rev, snapshot.reach, snapshot.over(forked_rev)

    async def walk() -> list[Found]:
        # In a thread: the tree is read from a file and hashed, and other repos go on meanwhile.
        return await asyncio.to_thread(some, found, PART, PART_BYTES)

    async with aclosing(sync.held_in_order(conn, snapshot.due.id, wanted, PART)) as stream:

        async def read_on() -> list[Held]:
            return await anext(stream, list[Held]())

        theirs, ours = _Side(walk), _Side(read_on)
        while (ends := [*await theirs.fill(), *await ours.fill()]) != []:
            upto = min(ends)
            yield list(compare(theirs.take(upto), ours.take(upto), *known))


class _Side(Generic[R]):
    """One of two ordered streams that are compared."""

    def __init__(self, more: Callable[[], Awaitable[list[R]]]) -> None:
        self._more = more
        self._items: list[R] = []
        self._ended = False

    async def fill(self) -> list[str]:
        """Where what is here ends; empty if nothing is left."""
        if not self._items and not self._ended:
            self._items = await self._more()
            self._ended = not self._items
        return [path(self._items[-1])] if self._items else []

    def take(self, upto: str) -> list[R]:
        cut = bisect_right(self._items, upto, key=path)
        taken, self._items = self._items[:cut], self._items[cut:]
        return taken


async def _write_part(
    conn: Connection,
    snapshot: Snapshot,
    part: list[Candidate],
    catalog: Catalog,
    lease_s: float,
) -> Tally | None:
    """One transaction of a large repo; None if the repo is stale."""
    if not part:
        return Tally()
    batch = Prepared()
    _collect(batch, part, catalog)
    did = snapshot.due.did
    async with conn.pipeline(), conn.transaction():
        standing = (await repos.lock(conn, [did])).get(did)
        if standing is None or not _current(snapshot, standing):
            return None
        out = await _write(conn, batch, {did: standing.repo}, catalog)
        await sync.renew(conn, snapshot.due.id, lease_s)
        entries = [happenings.record(x.candidate, snapshot.origin, None) for x in out.changed]
        await outbox.append(conn, [*happenings.named(out.names, snapshot.origin), *entries])
    return Tally.of(out.changed)


async def _finish(
    conn: Connection, snapshot: Snapshot, before: Chain, tally: Tally, catalog: Catalog
) -> bool | None:
    """Set where a large repo stands; None if it has to be compared again, False if it is stale."""
    did = snapshot.due.did
    proof = await asyncio.to_thread(snapshot.proof, collections_of(catalog))
    async with conn.transaction():
        standing = (await repos.lock(conn, [did])).get(did)
        if standing is None or not _current(snapshot, standing):
            return False
        now = Chain.of(standing.rev, standing.data, standing.gaps or [])
        if not undisturbed(before, now, snapshot.upto):
            return None
        hearsay = await sync.has_hearsay(conn, snapshot.due.id, snapshot.hearsay_upto)
        settled = settle(snapshot, standing, tally, hearsay=hearsay)
        if proof is not None:
            await proofs.add(conn, [Proof(snapshot.due.id, snapshot.head.rev, proof)])
        await sync.done(conn, [settled.row])
        await decisions.add(conn, [settled.decision])
        await outbox.append(conn, settled.said)
    return True


def _current(snapshot: Snapshot, standing: Standing | None) -> bool:
    """Whether the account is still there, and still at the host that was asked."""
    return standing is not None and standing.active and standing.repo.pds == snapshot.due.pds


def _collect(batch: Prepared, differences: Iterable[Candidate], catalog: Catalog) -> None:
    for c in differences:
        batch.newest[c.did, c.collection, c.rkey] = read(c, catalog)


async def _write(conn: Connection, batch: Prepared, known: dict[Did, Repo], catalog: Catalog) -> _Written:
    """Write the candidates that beat what is stored, with their projections and counters."""
    names = Names({}, [])
    rows = batch.rows(known)
    if not rows:
        return _Written([], names)
    held = await (await intake.add(conn, intake.pack(rows))).answer()
    return _Written(await apply.write_records(conn, batch, known, {}, held, names, catalog), names)


async def _keep_proofs(
    conn: Connection, snapshots: Iterable[Snapshot], wanted: list[Nsid], changed: Sequence[Change]
) -> None:
    """Records whose version is of this rev are proven by the tree of this rev."""
    written = {x.candidate.did for x in changed if x.candidate.cid is not None}
    found = [
        Proof(s.due.id, s.head.rev, car)
        for s in snapshots
        if s.due.did in written and (car := s.proof(wanted)) is not None
    ]
    if found:
        await proofs.add(conn, found)


def _by_did(changed: Iterable[Change]) -> dict[Did, list[Change]]:
    found: dict[Did, list[Change]] = {}
    for x in changed:
        found.setdefault(x.candidate.did, []).append(x)
    return found


def _source(snapshots: Sequence[Snapshot]) -> str:
    return snapshots[0].origin if snapshots else ""
