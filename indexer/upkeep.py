"""What `ingest` does besides following: look identities up again, and retry what was set aside.

Both work from rows that say when they are due, so a crash forgets nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from firehose.events import Frame
from firehose.frames import decode_frame, seq_of
from firehose.identity import IdentityError, IdentityResolver
from indexer.apply import apply_batch
from indexer.ingest import REFUSED
from indexer.prepare import prepare
from indexer.profiles import refresh_profiles
from indexer.replay import refresh_cards
from indexer.verifier import Received, Verified, Verifier
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import rejected, repos
from storage.postgres import Pool
from storage.rejected import Due

log = structlog.get_logger()

BATCH = 20
PAUSE_S = 5.0
RETRY_WAIT_S = 15.0


class Upkeep:
    """Two endless loops over due rows. `wake` makes the identities' turn come now."""

    def __init__(
        self, *, pool: Pool, catalog: Catalog, resolver: IdentityResolver, verifier: Verifier
    ) -> None:
        self._pool = pool
        self._catalog = catalog
        self._resolver = resolver
        self._verifier = verifier
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._identities())
            tasks.create_task(self._rejected())

    async def _identities(self) -> None:
        while True:
            self._woken.clear()
            try:
                while await self.refresh_due():
                    pass
            except* (OperationalError, PoolTimeout) as group:
                log.warning("identities wait for the database", error=str(group.exceptions[0]).strip())
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_S):
                    await self._woken.wait()

    async def refresh_due(self) -> int:
        """Look up one batch of the identities that are due. Returns how many those were."""
        async with self._pool.connection() as conn:
            dids = await repos.identity_due(conn, BATCH)
        async with asyncio.TaskGroup() as tasks:
            for did in dids:
                tasks.create_task(self._refresh(did))
        return len(dids)

    async def _refresh(self, did: Did) -> None:
        try:
            doc = await self._resolver.resolve(did, refresh=True)
        except IdentityError as error:
            log.info("identity not refreshed", did=did, error=str(error))
            async with self._pool.connection() as conn:
                await repos.postpone_identity(conn, did)
            return
        async with self._pool.connection() as conn, conn.transaction():
            before = (await repos.lock(conn, [did])).get(did)
            changed = await repos.save_identity(
                conn,
                did,
                handle=doc.handle,
                pds=doc.pds,
                signing_key=doc.signing_key,
                due_s=self._resolver.refresh_due_s(did),
            )
            if changed:
                await refresh_profiles(conn, changed, self._catalog)
            if before is not None and before.pds != doc.pds:
                await refresh_cards(conn, before.id, self._catalog)
        self._verifier.learn(doc)

    async def _rejected(self) -> None:
        while True:
            try:
                while await self.retry_due():
                    pass
            except* (OperationalError, PoolTimeout) as group:
                log.warning("set-aside events wait for the database", error=str(group.exceptions[0]).strip())
            await asyncio.sleep(PAUSE_S)

    async def retry_due(self) -> int:
        """Try one batch of set-aside frames again. Returns how many those were."""
        async with self._pool.connection() as conn:
            due = await rejected.due(conn, BATCH)
        for row in due:
            await self._retry(row)
        return len(due)

    async def _retry(self, row: Due) -> None:
        """Apply a set-aside frame, or postpone it: its row goes in the transaction of its effects."""
        frame = decode_frame(row.raw)
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
            async with self._pool.connection() as conn:
                await rejected.postpone(
                    conn, row.id, reason=still.reason, detail=still.detail, again=still.retry_s is not None
                )

    async def _apply(self, row: Due, verified: Verified) -> None:
        async with self._pool.connection() as conn, conn.transaction():
            await apply_batch(
                conn,
                prepare((c.event for c in verified.checked), self._catalog),
                catalog=self._catalog,
                source=row.source,
                seq=None,
                identities=verified.identities.values(),
            )
            await rejected.drop(conn, [row.id])
