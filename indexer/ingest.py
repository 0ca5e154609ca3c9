"""Follow the sources: read, sift, verify, prepare, apply.

    socket ─▶ Inbox ─▶ verify + prepare ─▶ one slot ─▶ apply (transaction) ─▶ Postgres
              bounded  (keys, hashes, MST)

Three tasks a source, so that the next batch is verified while the last one is written. Nobody waits
for a batch to fill: whatever has come while the stages were busy is the next batch. In quiet times
a commit is on its way at once; in a flood batches grow up to `Limits.frames`.

Contract: a cursor is saved in the transaction of the effects of everything before it, never apart.
Every connection starts a little behind the cursor (`rewind`), so that frames which a source sent out
of order around a crash come again; replays change nothing.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass

import structlog

from firehose import jetstream
from firehose.events import Event
from firehose.filter import Interest
from firehose.relay import Source, SourceState, SourceStatus, stream
from indexer.apply import Applied, apply_batch
from indexer.hosting import Hosting
from indexer.inbox import Progress, Reader
from indexer.prepare import Prepared, prepare
from indexer.verifier import Verified, Verifier
from lexicons.catalog import Catalog
from storage import cursors
from storage.postgres import AWAY, REFUSED, Pool
from storage.rejected import Rejection

log = structlog.get_logger()

BREATH = 16  # events prepared before other tasks get a turn, about a third of a millisecond


@dataclass(frozen=True, slots=True)
class Limits:
    frames: int = 1000  # of interest, in one batch
    waiting: int = 8000  # of interest, read but not yet taken; then the socket waits
    cursor_every_s: float = 1.0  # how often the cursor moves when nothing is of interest
    alive_every_s: float = 30.0  # how often it is confirmed when nothing comes, while the source is there
    identity_wait_s: float = 2.0
    rewind: int = 1000  # events, or microseconds where a source counts those
    patience_s: float = 0.0  # how long events are held back, for others to bring them with proofs


@dataclass(frozen=True, slots=True)
class Batch:
    prepared: Prepared
    verified: Verified
    seq: int | None


def spare_the_collector() -> None:
    """Let Python look for cycles a hundred times less often, and never among what is there already.

    Batches hold hundreds of thousands of objects and no cycles; searching them cost a quarter of the
    time. Call it once, when everything that stays is built.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


async def prepare_in_turns(events: Iterable[Event], catalog: Catalog) -> Prepared:
    """`prepare`, with a breath now and then for the stage that is writing."""
    batch = Prepared()
    for n, event in enumerate(events, 1):
        batch.add(event, catalog)
        if n % BREATH == 0:
            await asyncio.sleep(0)
    return batch


class Follower:
    """Follows one source until it is cancelled."""

    def __init__(
        self,
        source: Source,
        *,
        pool: Pool,
        catalog: Catalog,
        interest: Interest,
        verifier: Verifier,
        status: SourceStatus,
        start: int | None = None,
        limits: Limits = Limits(),
        expired: Callable[[], None] = lambda: None,
        hosting: Hosting | None = None,
    ) -> None:
        self.source = source
        self.status = status
        self.progress = Progress()
        self._pool = pool
        self._catalog = catalog
        self._verifier = verifier
        self._start = start
        self._limits = limits
        self._expired = expired
        self._hosting = hosting
        self._reader = Reader(
            source,
            interest=interest,
            status=status,
            progress=self.progress,
            limit=limits.waiting,
            hosting=hosting,
        )
        self._said_at = 0.0
        self._slot: asyncio.Queue[Batch | None] = asyncio.Queue(1)

    async def run(self, frames: AsyncGenerator[list[bytes], None] | None = None) -> None:
        """Until the source ends, which a live one never does. `frames` replaces the socket."""
        self.progress.seq = self.progress.committed = await self._saved_cursor()
        wanted = {*self._catalog.collections.own, self._catalog.collections.bsky_profile}
        chunks = frames or stream(self.source, self.cursor, status=self.status, collections=wanted)
        if self._limits.patience_s:
            chunks = jetstream.held_back(chunks, self._limits.patience_s)
        async with aclosing(chunks), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reader.read(chunks))
            tasks.create_task(self._verify())
            tasks.create_task(self._apply())

    def cursor(self) -> int | None:
        """Where the next connection starts: a little behind what was received; None means live."""
        seq = self.progress.seq
        return self._start if seq is None else max(0, seq - self._limits.rewind)

    async def _saved_cursor(self) -> int | None:
        while True:
            try:
                async with self._pool.connection() as conn:
                    return await cursors.get(conn, self.source.url)
            except AWAY as error:
                log.warning("database unreachable, trying again", error=str(error).strip())
                await asyncio.sleep(1)

    # -- verifying

    async def _verify(self) -> None:
        inbox = self._reader.inbox
        while True:
            with suppress(TimeoutError):  # nothing of interest: the cursor moves all the same
                async with asyncio.timeout(self._limits.cursor_every_s):
                    await inbox.filled.wait()
            ended = inbox.closed
            taken, unreadable, seq = inbox.take(self._limits.frames)
            if taken or unreadable or seq != self.progress.committed or self._is_idle(seq):
                self._said_at = asyncio.get_running_loop().time()
                verified = await self._verifier.verify(
                    taken, self.source.url, wait_s=self._limits.identity_wait_s
                )
                verified.rejections += unreadable
                self.progress.matched += sum(each.seq is not None for each in taken)
                prepared = await prepare_in_turns((c.event for c in verified.checked), self._catalog)
                prepared.identities |= verified.rotated
                for doubt in verified.doubts:
                    prepared.doubt(doubt)
                prepared.opening()  # here, while the batch before is being written
                await self._slot.put(Batch(prepared, verified, seq))
            if ended and not inbox.frames:
                await self._slot.put(None)
                return

    def _is_idle(self, seq: int | None) -> bool:
        """Whether it is time to confirm a cursor that does not move: a quiet source is not a dead one, as
        long as it answers our pings (rule A16)."""
        silent_s = asyncio.get_running_loop().time() - self._said_at
        connected = self.status.state is SourceState.CONNECTED
        return connected and seq is not None and silent_s >= self._limits.alive_every_s

    # -- applying

    async def _apply(self) -> None:
        while (batch := await self._slot.get()) is not None:
            done = await self._commit(batch)
            self.progress.applied += done.changed
            self.progress.rejected += len(batch.verified.rejections)
            self.progress.committed = batch.seq
            if done.expired:
                self._expired()

    async def _commit(self, batch: Batch) -> Applied:
        """Until it is committed: a database that is away is waited for."""
        pause_s = 0.1
        while True:
            try:
                return await self._attempt(batch)
            except AWAY as error:
                log.warning("database unreachable, trying again", error=str(error).strip(), pause_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(5.0, pause_s * 2)

    async def _attempt(self, batch: Batch) -> Applied:
        """All at once; or, if Postgres refuses a value, one by one, to reject those alone (T20)."""
        verified = batch.verified
        try:
            return await self._transaction(batch.prepared, verified, batch.seq)
        except REFUSED as error:
            log.warning("a batch was refused, applying its events one by one", error=str(error).strip())
        total = Applied(0, 0)
        refused: list[Rejection] = []
        for checked in verified.checked:
            alone = Verified(identities=verified.identities)
            try:
                done = await self._transaction(prepare([checked.event], self._catalog), alone, None)
            except REFUSED as error:
                refused.append(checked.received.rejection(self.source.url, "storage", str(error).strip()))
            else:
                total = Applied(total.changed + done.changed, total.expired + done.expired)
        rest = Prepared(identities=set(verified.rotated))
        for doubt in verified.doubts:
            rest.doubt(doubt)
        ended = Verified(rejections=verified.rejections + refused, identities=verified.identities)
        done = await self._transaction(rest, ended, batch.seq)
        return Applied(total.changed + done.changed, total.expired + done.expired)

    async def _transaction(self, prepared: Prepared, verified: Verified, seq: int | None) -> Applied:
        async with self._pool.connection() as conn:
            return await apply_batch(
                conn,
                prepared,
                catalog=self._catalog,
                source=self.source.url,
                seq=seq,
                identities=verified.identities.values(),
                rejections=verified.rejections,
                host=self._hosting and self._hosting.host_of(self.source.url),
            )
