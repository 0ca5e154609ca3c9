"""A relay, a directory and two PDSs on ports, and what `plyr ingest` builds on top of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from firehose.filter import Interest
from firehose.hosts import SyncHost
from firehose.identity import IdentityResolver
from firehose.lanes import Lanes
from firehose.net import GuardedClient
from firehose.relay import SourceStatus, Timing, parse_source, stream
from indexer.hosting import Hosting
from indexer.ingest import Follower, Limits
from indexer.upkeep import Upkeep
from indexer.verifier import Verifier
from lexicons.catalog import Catalog
from storage import repos
from storage.postgres import Pool
from tests.fakenet.pds import FakePds
from tests.fakenet.plc import FakePlc
from tests.fakenet.relay import FakeRelay
from tests.fakenet.repo import FakeRepo, frame

CATALOG = Catalog.load()
QUICK = Timing(pause_min_s=0.01, pause_base_s=0.01, pause_cap_s=0.05, future_cursor_wait_s=0.1)


@dataclass
class Net:
    """`pds` is where accounts are made, `other` is where they may move."""

    relay: FakeRelay
    plc: FakePlc
    pds: FakePds
    other: FakePds
    seq: int = 0

    def account(self, seed: object) -> FakeRepo:
        repo = FakeRepo(seed=seed)
        self.pds.host(repo)
        self.plc.publish(repo, self.pds.origin)
        return repo

    def move(self, repo: FakeRepo) -> None:
        """Migrate: a new key, the other host, and the old one says `deactivated` from now on."""
        self.pds.set_status(repo.did, "deactivated")
        repo.rotate_key(f"{repo.did} moved")
        self.other.host(repo)
        self.plc.publish(repo, self.other.origin)

    def emit(self, kind: str, body: Mapping[str, Any]) -> None:
        self.seq += 1
        self.relay.emit(self.seq, frame(kind, body, self.seq))

    def write(self, repo: FakeRepo, action: str, collection: str, rkey: str, record: Any = None) -> None:
        self.emit("#commit", repo.write([(action, collection, rkey, record)]))

    def says(self, repo: FakeRepo, status: str | None = None, *, active: bool | None = None) -> None:
        """`#account`, whether true or not."""
        shown = status is None if active is None else active
        self.emit("#account", repo.account_body(active=shown, status=status))


@dataclass
class Tools:
    """`host` as a part is given it, through the client that may go to this machine."""

    client: GuardedClient
    resolver: IdentityResolver
    host: Callable[[str], SyncHost]


@asynccontextmanager
async def made() -> AsyncGenerator[Net]:
    async with FakeRelay() as relay, FakePlc() as plc, FakePds() as pds, FakePds() as other:
        yield Net(relay, plc, pds, other)


@asynccontextmanager
async def equipped(
    net: Net, *, refresh_interval_s: float = 0, now: Callable[[], float] = time.monotonic
) -> AsyncGenerator[Tools]:
    """A resolver that asks each time, or at most so often; and hosts that never rest for long."""
    async with GuardedClient(allow_loopback=True) as client:
        resolver = IdentityResolver(
            client,
            net.plc.origin,
            handle_resolvers=[net.plc.origin],
            refresh_interval_s=refresh_interval_s,
            negative_ttl_s=0,
            retry_s=0,
            now=now,
        )
        yield Tools(client, resolver, lambda origin: SyncHost(client, origin, Lanes(), timeout_s=5))


@asynccontextmanager
async def ingesting(
    net: Net, pool: Pool, tools: Tools, *, rewind: int = 0, relay: FakeRelay | None = None
) -> AsyncGenerator[Upkeep]:
    """A follower of the relay, or of another, with its upkeep; stopped at the end of the block."""
    async with pool.connection() as conn:
        keys = await repos.tracked(conn)
    verifier = Verifier(tools.resolver, keys)
    hosting = Hosting(tools.host)
    upkeep = Upkeep(
        pool=pool,
        catalog=CATALOG,
        resolver=tools.resolver,
        verifier=verifier,
        host=tools.host,
        hosting=hosting,
    )
    source = parse_source((relay or net.relay).url)
    status = SourceStatus(source.url)
    follower = Follower(
        source,
        pool=pool,
        catalog=CATALOG,
        interest=Interest(CATALOG.collections.own, set(keys)),
        verifier=verifier,
        status=status,
        start=0,
        limits=Limits(rewind=rewind, cursor_every_s=0.05),
        expired=upkeep.wake,
        hosting=hosting,
    )
    chunks = stream(source, follower.cursor, status=status, timing=QUICK)
    tasks = [asyncio.create_task(follower.run(chunks)), asyncio.create_task(upkeep.run())]
    try:
        yield upkeep
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await chunks.aclose()


async def one(pool: Pool, query: str, *params: object) -> Any:
    async with pool.connection() as conn:
        row = await (await conn.execute(query, params)).fetchone()  # type: ignore[arg-type]
        return None if row is None else row[0] if len(row) == 1 else row


async def until(check: Callable[[], Awaitable[Any]], wanted: Any, timeout_s: float = 60) -> None:
    """Wait until `check` gives `wanted`; fail with what it gave last."""
    seen: Any = None
    async with asyncio.timeout(timeout_s + 1):
        for _ in range(int(timeout_s / 0.02)):
            seen = await check()
            if seen == wanted:
                return
            await asyncio.sleep(0.02)
    assert seen == wanted


async def committed(pool: Pool, net: Net) -> None:
    await until(lambda: one(pool, "select seq from source_cursor"), net.seq)


async def asked(pool: Pool) -> None:
    """Nobody is due to be asked about."""
    await until(
        lambda: one(pool, "select count(*) from repo where account_due <= now() + interval '5 min'"), 0
    )
