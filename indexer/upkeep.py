"""What `ingest` does besides following: look identities up, ask how accounts stand, and retry what was
set aside.

All of it works from rows that say when they are due, so a crash forgets nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime

import structlog

from firehose.events import Frame
from firehose.frames import BadFrame, seq_of
from firehose.identity import IdentityDoc, IdentityError, IdentityNotFound, IdentityResolver
from firehose.jetstream import read_any
from indexer.accounts import AccountChecks, Host
from indexer.apply import apply_batch
from indexer.duties import Duty
from indexer.hosting import Hosting
from indexer.identities import settle_identity
from indexer.prepare import prepare
from indexer.verifier import Received, Verified, Verifier
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import accounts, outbox, rejected, repos
from storage.outbox import Entry, Kind
from storage.postgres import REFUSED, Pool
from storage.rejected import Due

log = structlog.get_logger()

RETRIES = 4
RETRY_WAIT_S = 15.0
LEASE_S = 60.0


class Upkeep:
    """Three endless duties. `wake` makes the turn of identities and accounts come now.

    `host` gives the client for a PDS by its origin; `hosting` knows which sources are PDSs.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        catalog: Catalog,
        resolver: IdentityResolver,
        verifier: Verifier,
        host: Host,
        hosting: Hosting | None = None,
    ) -> None:
        self._pool = pool
        self._catalog = catalog
        self._resolver = resolver
        self._verifier = verifier
        self._hosting = hosting
        checks = AccountChecks(pool=pool, catalog=catalog, resolver=resolver, host=host, learn=verifier.learn)
        self.accounts = Duty("accounts", take=checks.take, work=checks.check)
        self.identities = Duty("identities", take=self._due_identities, work=self._refresh)
        self.retries = Duty("retries", take=self._due_rejected, work=self._retry, at_once=RETRIES)

    def wake(self) -> None:
        self.accounts.wake()
        self.identities.wake()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.identities.run())
            tasks.create_task(self.accounts.run())
            tasks.create_task(self.retries.run())

    async def _due_identities(self, limit: int) -> list[tuple[Did, datetime]]:
        async with self._pool.connection() as conn:
            return list((await repos.take_identities(conn, limit=limit, lease_s=LEASE_S)).items())

    async def _refresh(self, due: tuple[Did, datetime]) -> None:
        did, lease = due
        try:
            doc = await self._resolver.resolve(did, refresh=True)
        except IdentityError as error:
            log.info("identity not refreshed", did=did, error=str(error))
            async with self._pool.connection() as conn, conn.transaction():
                await repos.postpone_identity(conn, did, lease)
                if isinstance(error, IdentityNotFound):  # a person who is gone, perhaps: asked in its own way
                    await accounts.check(conn, [did])
            self.accounts.wake()
            return
        await self._store(doc, lease)

    async def _store(self, doc: IdentityDoc, lease: datetime) -> None:
        due_s = self._resolver.refresh_due_s(doc.did)
        async with self._pool.connection() as conn, conn.transaction():
            entries = await settle_identity(conn, doc, self._catalog, lease=lease, due_s=due_s)
            await outbox.append(conn, entries)
        self._verifier.learn(doc)
        if entries:  # whoever lost a handle, and whoever left the host that hid it, is due now
            self.wake()

    async def _due_rejected(self, limit: int) -> list[Due]:
        async with self._pool.connection() as conn:
            return await rejected.take(conn, limit=limit, lease_s=LEASE_S)

    async def _retry(self, row: Due) -> None:
        """Apply a set-aside frame, or postpone it: its row goes in the transaction of its effects."""
        try:
            frame = read_any(row.raw)
        except BadFrame as error:  # a person had hoped
            await self._postpone(row, "bad_frame", error.reason, again=False)
            return
        if not isinstance(frame, Frame):
            raise TypeError(f"rejected event {row.id} is an error frame, which is never set aside")
        received = Received(seq_of(frame), row.raw, frame)
        verified = await self._verifier.verify([received], row.source, wait_s=RETRY_WAIT_S)
        still = verified.rejections[0] if verified.rejections else None
        if still is None:
            try:
                await self._apply(row, verified)
            except REFUSED as error:
                still = received.rejection(row.source, "storage", str(error).strip())
        if still is not None:
            await self._postpone(row, still.reason, still.detail, again=still.retry_s is not None)

    async def _postpone(self, row: Due, reason: str, detail: str, *, again: bool) -> None:
        async with self._pool.connection() as conn:
            await rejected.postpone(conn, row.id, reason=reason, detail=detail, again=again)

    async def _apply(self, row: Due, verified: Verified) -> None:
        async with self._pool.connection() as conn, conn.transaction():
            await apply_batch(
                conn,
                prepare((c.event for c in verified.checked), self._catalog),
                catalog=self._catalog,
                source=row.source,
                seq=None,
                identities=verified.identities.values(),
                host=self._hosting and self._hosting.host_of(row.source),
            )
            await rejected.drop(conn, [row.id])
            digest = hashlib.sha256(row.raw).hexdigest()
            entry = Entry(Kind.DROPPED, row.source, verdict="applied", detail={"digest": digest})
            await outbox.append(conn, [entry])
