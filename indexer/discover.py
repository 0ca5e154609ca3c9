"""Finds the accounts that have records of ours, whether they write now or not (rule E2).

Each host that lists accounts by collection is asked for each of our collections; one that cannot, as a
PDS, for all of its accounts, and for the collections of each. Where an enumeration stands is in the
database, with the accounts found so far: a crash goes on. It is repeated on a schedule.

Contract: nobody falls between the list and the stream (rule E3). The list is asked for once the stream is
being followed, so a record that is written while it is read comes by the stream:

    the stream is followed, cursor saved     list: ana, ben      carl writes his first record: by the stream
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import structlog

from firehose.host_errors import HostError, HostRefused, MethodMissing, RepoUnavailable
from firehose.hosts import Page, SyncHost
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import decisions, discovery, outbox, repos
from storage.decisions import Decision
from storage.outbox import Entry, Kind
from storage.postgres import AWAY, Connection, Pool
from storage.repos import NewRepo

log = structlog.get_logger()

ALL = ""  # in the place of a collection: every account of the host
LOOK_S = 15.0
LIVE_WAIT_S = 10.0
RETRY_S, RETRY_MOST_S = 5.0, 600.0
EMPTY_PAGES = 100
AT_ONCE = 4  # descriptions of repos


async def track(conn: Connection, dids: Iterable[Did], source: str, why: str) -> list[Did]:
    """Track those that we do not yet, and have them looked up and fetched. Returns who is new; `why` is
    a sentence. Must be the last thing that its transaction does."""
    new = [NewRepo(did, None, None) for did in sorted(set(dids))]
    ids = await repos.track(conn, new)
    found = sorted(ids)
    await decisions.add(conn, [Decision(did, "discovery", "tracked", why, source) for did in found])
    detail = {"pds": None, "signing_key": None}
    await outbox.append(
        conn, [Entry(Kind.REPO, source, did=did, detail={"id": ids[did], **detail}) for did in found]
    )
    return found


class Discoverer:
    """Enumerates hosts until it is cancelled. `every_s` is from the end of one pass to the next."""

    def __init__(
        self,
        *,
        pool: Pool,
        catalog: Catalog,
        hosts: Sequence[SyncHost],
        every_s: float = 6 * 3600,
        retry_s: float = RETRY_S,
    ) -> None:
        self._pool = pool
        self._wanted = catalog.collections.own
        self._collections = sorted(self._wanted)
        self._hosts = hosts
        self._every_s = every_s
        self._retry_s = retry_s

    async def run(self) -> None:
        await self._until_live()
        async with asyncio.TaskGroup() as tasks:
            for host in self._hosts:
                tasks.create_task(self._keep_listing(host))

    async def once(self) -> int:
        """Whatever is due, or was interrupted, to its end. Returns how many accounts are new. Raises
        `HostError`; what was found until then stays."""
        return sum([await self._list(host) for host in self._hosts])

    async def _until_live(self) -> None:
        for _ in range(int(LIVE_WAIT_S)):
            try:
                async with self._pool.connection() as conn:
                    if await discovery.is_live(conn):
                        return
            except AWAY as error:
                log.warning("discovery waits for the database", error=str(error).strip())
            await asyncio.sleep(1)
        log.warning("no stream has said anything yet; accounts are listed all the same")

    async def _keep_listing(self, host: SyncHost) -> None:
        pause_s = self._retry_s
        while True:
            try:
                await self._list(host)
            except HostError as error:
                wait_s = max(pause_s, error.retry_after_s or 0)
                log.info("list of accounts interrupted", host=host.origin, reason=str(error), again_s=wait_s)
                pause_s = min(RETRY_MOST_S, pause_s * 2)
                await asyncio.sleep(wait_s)
            except AWAY as error:
                log.warning("discovery waits for the database", error=str(error).strip())
                await asyncio.sleep(self._retry_s)
            else:
                pause_s = self._retry_s
                await asyncio.sleep(min(LOOK_S, self._every_s))

    async def _list(self, host: SyncHost) -> int:
        """Each of our collections, or all accounts of a host that has no such list."""
        found = 0
        for collection in self._collections:
            try:
                found += await self._enumerate(
                    host,
                    collection,
                    partial(host.list_repos_by_collection, collection),
                    f"{host.origin} lists it for {collection}",
                )
            except MethodMissing:
                async with self._pool.connection() as conn:
                    await discovery.forget(conn, host.origin, collection)
                return found + await self._enumerate(
                    host, ALL, host.list_repos, f"{host.origin} has it, with records of ours"
                )
        return found

    async def _enumerate(
        self, host: SyncHost, collection: str, ask: Callable[[str | None], Awaitable[Page]], why: str
    ) -> int:
        async with self._pool.connection() as conn:
            begun = await discovery.begin(conn, host.origin, collection, every_s=self._every_s)
        if begun is None:
            return 0
        cursor, found, empty = begun.cursor, 0, 0
        seen: set[str | None] = {cursor}
        while True:
            try:
                page = await ask(cursor)
            except HostRefused as error:
                if cursor is None or error.retry_after_s is not None:
                    raise
                # A cursor of before may mean nothing any more: from the beginning, once.
                log.info("list of accounts begins anew", host=host.origin, reason=str(error))
                page = await ask(None)
                seen.clear()
            dids = [repo.did for repo in page.repos]
            if collection == ALL:
                dids = await self._ours(host, page)
            empty = 0 if page.repos else empty + 1
            cursor = page.cursor
            if cursor is not None and (cursor in seen or empty > EMPTY_PAGES):
                log.warning("list of accounts runs in a circle, ended", host=host.origin, cursor=cursor[:80])
                cursor = None
            seen.add(cursor)
            found += await self._take_in(host.origin, collection, dids, cursor, why)
            if cursor is None:
                return found

    async def _take_in(
        self, source: str, collection: str, dids: list[Did], cursor: str | None, why: str
    ) -> int:
        """A page's accounts and the place behind it, together."""
        async with self._pool.connection() as conn, conn.transaction():
            new = await discovery.unknown(conn, dids) if dids else []
            await discovery.advance(conn, source, collection, cursor=cursor, found=len(new))
            found = await track(conn, new, source, why) if new else []
        if found:
            log.info("accounts found", source=source, collection=collection or "all", count=len(found))
        return len(found)

    async def _ours(self, host: SyncHost, page: Page) -> list[Did]:
        """Of a page of all accounts, those that we do not know and that have records of ours."""
        async with self._pool.connection() as conn:
            unknown = await discovery.unknown(conn, [repo.did for repo in page.repos if repo.active])
        ours: list[Did] = []
        for start in range(0, len(unknown), AT_ONCE):
            dids = unknown[start : start + AT_ONCE]
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(self._has_ours(host, did)) for did in dids]
            for did, task in zip(dids, asked, strict=True):
                answer = task.result()
                if isinstance(answer, HostError):
                    raise answer
                if answer:
                    ours.append(did)
        return ours

    async def _has_ours(self, host: SyncHost, did: Did) -> bool | HostError:
        try:
            return not self._wanted.isdisjoint(await host.describe_repo(did))
        except RepoUnavailable:
            return False  # gone since it was listed
        except HostRefused as error:
            # Such as a DID that the host cannot look up: the next pass asks again, the others do not wait.
            log.info("account not described", host=host.origin, did=did, reason=str(error))
            return False
        except HostError as error:
            return error
