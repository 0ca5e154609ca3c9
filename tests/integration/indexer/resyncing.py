"""A resyncer beside a fake PDS and a database, for tests that ask what it makes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from firehose.events import Commit, Event, Unproven
from firehose.identity import IdentityDoc
from firehose.lanes import Lanes
from firehose.net import GuardedClient
from indexer import discover
from indexer.apply import apply_batch
from indexer.identities import settle_identity
from indexer.prepare import prepare
from indexer.resync import Limits, Resyncer
from lexicons.catalog import Catalog
from lexicons.syntax import tid_from_us
from storage import outbox, repos
from storage.outbox import Entry
from storage.postgres import Connection, make_pool
from storage.repos import NewRepo
from tests.fakenet.pds import FakePds
from tests.fakenet.repo import START_US
from tests.fakenet.world import Author

SOURCE = "wss://relay.example"
CATALOG = Catalog.load()
HASTE = 100  # seconds of a lane's patience in one of ours
QUICK = Limits(pause_s=0.02, confirm_s=0.05)


def key(name: str) -> str:
    """A record key of that name: records of ours have TIDs."""
    return str(tid_from_us(START_US + sum(n**2 * byte for n, byte in enumerate(name.encode(), 1))))


def hasty_lanes() -> Lanes:
    return Lanes(8, now=lambda: time.monotonic() * HASTE)


@asynccontextmanager
async def resyncing(
    database: str, lanes: Lanes | None = None, limits: Limits = QUICK
) -> AsyncIterator[Resyncer]:
    """A resyncer at work until the block ends."""
    async with (
        make_pool(database, max_size=6, name="resync") as pool,
        GuardedClient(allow_loopback=True) as client,
    ):
        resyncer = Resyncer(
            pool=pool, catalog=CATALOG, client=client, lanes=lanes or hasty_lanes(), limits=limits
        )
        work = asyncio.create_task(resyncer.run())
        try:
            yield resyncer
        finally:
            work.cancel()
            await asyncio.wait([work])
            if not work.cancelled():
                await work


async def resynced(conn: Connection, database: str, expected: str = "active", **options: Any) -> None:
    """Let a resyncer work until every repo is in this state and none is due."""
    async with resyncing(database, **options):
        await until(conn, expected)


async def until(conn: Connection, state: str, timeout_s: float = 60) -> None:
    """Wait until every repo is in this state, and not about to be read."""
    async with asyncio.timeout(timeout_s):
        while await one(conn, "select count(*) from repo where state <> %s or resync_due <= now()", state):
            await asyncio.sleep(0.02)


async def track(conn: Connection, pds: FakePds, authors: Iterable[Author]) -> None:
    """Follow these accounts, which live at `pds`, as discovery would."""
    new = [NewRepo(a.did, pds.origin, a.repo.key.did_key) for a in authors]
    for author in authors:
        pds.host(author.repo)
    await repos.track(conn, new)


async def discovered(conn: Connection, pds: FakePds, authors: Iterable[Author]) -> None:
    """The same as it comes about: found in a list, then looked up, each told to the outbox."""
    for author in authors:
        pds.host(author.repo)
        async with conn.transaction():
            await discover.track(conn, [author.did], pds.origin, "a test names it")
        doc = IdentityDoc(author.did, None, pds.origin, author.repo.key.did_key)
        async with conn.transaction():
            await outbox.append(conn, await settle_identity(conn, doc, CATALOG, lease=None, due_s=None))


async def apply(conn: Connection, *events: Event) -> None:
    await apply_batch(conn, prepare(events, CATALOG), catalog=CATALOG, source=SOURCE, seq=None)


def hearsay(commit: Commit) -> list[Unproven]:
    """The commit as a Jetstream tells of it, with no proof."""
    return [Unproven(commit.seq, commit.did, commit.rev, commit.time, op) for op in commit.ops]


async def due_now(conn: Connection) -> None:
    await conn.execute("update repo set resync_due = now() where state <> 'active'")


async def one(conn: Connection, query: str, *params: object) -> Any:
    row = await (await conn.execute(query, params)).fetchone()  # type: ignore[arg-type]
    return None if row is None else row[0]


async def live(conn: Connection) -> dict[str, str]:
    """URI → rev of every record that is there."""
    rows = await conn.execute(
        "select 'at://' || did || '/' || collection || '/' || rkey, record.rev from record"
        " join repo on repo.id = repo_id where cid is not null"
    )
    return dict(await rows.fetchall())


async def counts(conn: Connection, uri: str) -> tuple[int, int]:
    rows = await conn.execute(
        "select likes, comments from track_stat join track_uri using (id) where uri = %s", (uri,)
    )
    return await rows.fetchone() or (0, 0)


async def told(conn: Connection) -> list[Entry]:
    """Everything that the outbox was told, in order."""
    return [entry for batch in await outbox.after(conn, 0, rows=10_000) for entry in batch.entries]


async def decided(conn: Connection) -> list[tuple[str, str]]:
    rows = await conn.execute("select outcome, reason from decision order by id")
    return await rows.fetchall()
