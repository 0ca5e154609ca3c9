"""Reads repos whole, as they come due, and puts into the tables what was missed.

    take (lease) ─▶ fetch and prove, many at once, in their hosts' lanes ─▶ merge, many to a transaction
         ▲                                   │
         └── due again ◀── put back ◀────────┘ no repo, no answer, no proof

Who is due is in the database, and so is what came of it: a crash forgets nothing, the lease runs out.
Commits that arrive meanwhile need no waiting room: they are applied as ever, and what is compared
here leaves alone whatever is newer than the tree. Only where the account may have had another host, or
where hearsay is not proven by one read after another, is a host that has less than we hold asked once
more, some seconds later: if it stands by its rev, the rest is not its repo's and goes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog

from firehose.host_errors import HostError
from firehose.hosts import SyncHost
from firehose.lanes import Lanes
from firehose.message import CommitRejected
from firehose.net import GuardedClient
from indexer import outcome
from indexer.compare import Reach
from indexer.merge import Unsettled, collections_of, merge, merge_large
from indexer.snapshot import SMALL, Snapshot, fetch
from indexer.states import State
from lexicons.catalog import Catalog
from lexicons.syntax import Rev
from storage import decisions, outbox, sync
from storage.decisions import Decision
from storage.outbox import Entry, Kind
from storage.postgres import AWAY, REFUSED, Pool
from storage.sync import Due, Returned

log = structlog.get_logger()
T = TypeVar("T")

RETRY_S = 1.0
HEARSAY_TRIES = 2  # reads that did not prove it, before it counts as refuted


@dataclass(frozen=True, slots=True)
class Limits:
    """`at_once` repos are taken, `per_host` of one host before others come first; `records` and `repos`
    bound a transaction. Times in seconds."""

    at_once: int = 128
    per_host: int = 32
    large_at_once: int = 1
    repos: int = 64
    records: int = 4000
    lease_s: float = 900
    pause_s: float = 1
    confirm_s: float = 5


@dataclass(slots=True)
class Progress:
    """What a person wants to watch: repos read, repos that could not be, and how many are under way."""

    read: int = 0
    failed: int = 0
    running: int = 0


class Resyncer:
    """Runs until it is cancelled. The one in its database: it takes over what another had taken."""

    def __init__(
        self,
        *,
        pool: Pool,
        catalog: Catalog,
        client: GuardedClient,
        lanes: Lanes,
        folder: str | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self.progress = Progress()
        self._pool = pool
        self._catalog = catalog
        self._client = client
        self._lanes = lanes
        self._folder = folder
        self._limits = limits
        self._collections = collections_of(catalog)
        self._hosts: Counter[str] = Counter()
        self._at_work: set[int] = set()
        self._resting: set[str] = set()
        self._fetched: asyncio.Queue[Snapshot | tuple[Due, Returned]] = asyncio.Queue(limits.at_once)
        self._open: set[Snapshot] = set()
        self._large = asyncio.Semaphore(limits.large_at_once)
        self._freed = asyncio.Event()

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            for snapshot in self._open:
                snapshot.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(tasks))
            await _patiently(self._release)
            while True:
                self._freed.clear()
                taken = await _patiently(self._take)
                # A large one that waits for its turn may outlive its lease: then that was renewed, no more.
                due = [one for one in taken if one.id not in self._at_work]
                for one in due:
                    self._at_work.add(one.id)
                    self._hosts[one.pds] += 1
                    self.progress.running += 1
                    tasks.create_task(self._fetch(one))
                if not due:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._limits.pause_s):
                            await self._freed.wait()

    async def _release(self) -> None:
        async with self._pool.connection() as conn:
            await sync.release(conn)

    async def _take(self) -> list[Due]:
        """Due repos, at hosts that have time for them. Few are not worth a transaction while many run."""
        limits = self._limits
        room = limits.at_once - self.progress.running
        if room < limits.at_once // 4:
            return []
        self._resting = {host for host in self._resting if self._lanes.rest_s(host) > 0}
        busy = {host for host, running in self._hosts.items() if running >= limits.per_host}
        async with self._pool.connection() as conn, conn.transaction():
            due = await sync.take(conn, limit=room, lease_s=limits.lease_s, busy=busy | self._resting)
            moved = [one for one in due if one.was not in (State.ACTIVE, State.RESYNCING)]
            told = [(one, outcome.taken(one)) for one in moved]
            await decisions.add(
                conn, [Decision(one.did, "state", State.RESYNCING, why, one.pds) for one, why in told]
            )
            await outbox.append(
                conn,
                [
                    Entry(Kind.STATE, one.pds, did=one.did, verdict=State.RESYNCING, reason=why)
                    for one, why in told
                ],
            )
        return due

    async def _fetch(self, due: Due) -> None:
        """One repo into memory, or into a file; what cannot be had goes back with a time."""
        host = SyncHost(self._client, due.pds, self._lanes)
        try:
            snapshot = await fetch(due, host, self._collections, folder=self._folder)
        except (HostError, CommitRejected) as error:
            if isinstance(error, HostError) and error.retry_after_s:
                self._resting.add(due.pds)
            await self._fetched.put((due, outcome.failed(due, error)))
        except OSError as error:
            await self._fetched.put((due, outcome.stuck(due, f"no room for its file: {error}")))
        else:
            self._open.add(snapshot)
            snapshot.reach = await self._reach(snapshot, host)
            if due.rev is not None and await _patiently(lambda: self._holds_many(due)):
                snapshot.records = None
            await self._fetched.put(snapshot)

    async def _reach(self, snapshot: Snapshot, host: SyncHost) -> Reach | None:
        """How far beyond its rev the host decides: up to what we heard of before it was asked again. None if
        it does not stand by its rev, or does not say."""
        due, rev = snapshot.due, snapshot.head.rev
        if not due.forked and (due.tries < HEARSAY_TRIES or due.rev is None or rev < due.rev):
            return None
        heard = await _patiently(lambda: self._newest(due))
        if heard is None or heard <= rev:
            return None
        await asyncio.sleep(self._limits.confirm_s)
        try:
            latest = await host.latest_commit(due.did)
        except HostError as error:
            log.info("rev not confirmed", did=due.did, host=due.pds, reason=str(error))
            return None
        return Reach(heard, proven=due.forked) if latest.rev == rev else None

    async def _newest(self, due: Due) -> Rev | None:
        async with self._pool.connection() as conn:
            return await sync.newest(conn, due.id)

    async def _holds_many(self, due: Due) -> bool:
        async with self._pool.connection() as conn:
            return await sync.is_large(conn, due.id, SMALL)

    async def _write(self, tasks: asyncio.TaskGroup) -> None:
        """Whatever was fetched while the last transaction ran is the next."""
        while True:
            small: list[Snapshot] = []
            back: list[tuple[Due, Returned]] = []
            records = 0
            item = await self._fetched.get()
            while True:
                if not isinstance(item, Snapshot):
                    back.append(item)
                elif item.records is None:
                    tasks.create_task(self._merge_large(item))
                else:
                    small.append(item)
                    records += len(item.records)
                full = records >= self._limits.records or len(small) >= self._limits.repos
                if full or self._fetched.empty():
                    break
                item = self._fetched.get_nowait()
            await self._merge(small)
            await self._put_back(back)

    async def _merge(self, snapshots: list[Snapshot]) -> None:
        """All of them in one transaction; if Postgres refuses something in it, each in its own."""
        if not snapshots:
            return

        async def together() -> list[Snapshot]:
            async with self._pool.connection() as conn:
                return await merge(conn, snapshots, self._catalog)

        try:
            stale = await _patiently(together)
        except REFUSED as error:
            if len(snapshots) > 1:
                for snapshot in snapshots:
                    await self._merge([snapshot])
                return
            self._close(snapshots[0])
            due = snapshots[0].due
            why = f"Postgres refuses it: {str(error).strip()}"
            await self._put_back([(due, outcome.stuck(due, why))])
            return
        for snapshot in snapshots:
            self._close(snapshot)
            if snapshot not in stale:
                self._end(snapshot.due, failed=False)
        await self._put_back([(s.due, outcome.stale(s.due)) for s in stale])

    async def _merge_large(self, snapshot: Snapshot) -> None:
        due = snapshot.due

        async def alone() -> bool:
            return await merge_large(self._pool, snapshot, self._catalog, lease_s=self._limits.lease_s)

        try:
            async with self._large:
                merged = await _patiently(alone)
        except CommitRejected as error:
            await self._put_back([(due, outcome.failed(due, error))])
        except Unsettled as error:
            await self._put_back([(due, outcome.stuck(due, str(error)))])
        except REFUSED as error:
            await self._put_back([(due, outcome.stuck(due, f"Postgres refuses it: {str(error).strip()}"))])
        else:
            if merged:
                self._end(due, failed=False)
            else:
                await self._put_back([(due, outcome.stale(due))])
        finally:
            self._close(snapshot)

    def _close(self, snapshot: Snapshot) -> None:
        snapshot.close()
        self._open.discard(snapshot)

    async def _put_back(self, failures: list[tuple[Due, Returned]]) -> None:
        """What came to nothing is due again, or waits for somebody's word on its account."""
        if not failures:
            return

        async def together() -> None:
            by_did = {due.did: (due, row) for due, row in failures}
            async with self._pool.connection() as conn, conn.transaction():
                moved = await sync.put_back(conn, [row for _, row in failures])
                told = [(*by_did[did], before, after) for did, before, after in moved]
                await decisions.add(
                    conn,
                    [
                        Decision(due.did, "resync", after, outcome.put_back(row), due.pds)
                        for due, row, _, after in told
                    ],
                )
                await outbox.append(
                    conn,
                    [
                        Entry(Kind.STATE, due.pds, did=due.did, verdict=after, reason=row.error)
                        for due, row, before, after in told
                        if before != after
                    ],
                )

        await _patiently(together)
        for due, row in failures:
            log.info("repo not read", did=due.did, host=due.pds, reason=row.error, again_s=row.due_s)
            self._end(due, failed=True)

    def _end(self, due: Due, *, failed: bool) -> None:
        self._at_work.discard(due.id)
        self.progress.running -= 1
        self.progress.failed += failed
        self.progress.read += not failed
        self._hosts[due.pds] -= 1
        if not self._hosts[due.pds]:
            del self._hosts[due.pds]
        self._freed.set()


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, however long Postgres is away meanwhile."""
    while True:
        try:
            return await work()
        except AWAY as error:
            log.warning("resync waits for the database", error=str(error).strip())
            await asyncio.sleep(RETRY_S)
