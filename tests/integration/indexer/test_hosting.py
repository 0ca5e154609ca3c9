"""A source that is a PDS has a say about its own accounts alone: two of them on ports, each with a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from firehose.hosts import SyncHost
from firehose.net import GuardedClient
from storage.outbox import Kind
from storage.postgres import Pool
from tests.fakenet.pds import FakePds
from tests.fakenet.plc import FakePlc
from tests.fakenet.relay import FakeRelay
from tests.fakenet.repo import FakeRepo, frame
from tests.fakenet.world import TRACK, track
from tests.integration.indexer.network import Net, Tools, ingesting, one, until
from tests.integration.indexer.resyncing import due_now, resyncing, told

R1, R2, R3 = "3mpt222222222", "3mpt222222333", "3mpt222222444"
TITLES = "select string_agg(title, ', ' order by rkey) from track"


class Home:
    """A PDS and its own stream, on one port."""

    def __init__(self) -> None:
        self.pds = FakePds()
        self.relay = FakeRelay(listing=self.pds.page)
        self.seq = 0

    async def open(self) -> None:
        await self.relay.__aenter__()
        self.pds.origin = self.relay.url.replace("ws", "http")

    def emit(self, kind: str, body: Mapping[str, Any]) -> None:
        self.seq += 1
        self.relay.emit(self.seq, frame(kind, body, self.seq))

    def write(self, repo: FakeRepo, rkey: str, title: str) -> None:
        self.emit("#commit", repo.write([("create", TRACK, rkey, track(title))]))


@pytest.fixture
async def homes() -> AsyncIterator[tuple[Home, Home]]:
    first, second = Home(), Home()
    await first.open()
    await second.open()
    try:
        yield first, second
    finally:
        await first.relay.__aexit__(None, None, None)
        await second.relay.__aexit__(None, None, None)


@pytest.fixture
async def net(homes: tuple[Home, Home]) -> AsyncIterator[Net]:
    async with FakePlc() as plc:
        yield Net(homes[0].relay, plc, homes[0].pds, homes[1].pds)


async def sung(net: Net, home: Home, pool: Pool) -> FakeRepo:
    ana = net.account("ana")
    home.write(ana, R1, "One")
    await until(lambda: one(pool, "select pds from repo where handle is not null"), home.pds.origin)
    return ana


async def committed(pool: Pool, home: Home) -> None:
    query = "select seq from source_cursor where url like %s"
    await until(lambda: one(pool, query, f"%:{home.relay.port}/%"), home.seq)


async def in_step(pool: Pool, repo: FakeRepo) -> None:
    async def stands() -> Any:
        async with pool.connection() as conn:
            await due_now(conn)
        return await one(pool, "select rev, state from repo")

    await until(stands, (repo.rev, "active"))


async def test_b16_a_pds_tells_nothing_of_an_account_that_is_at_home_elsewhere(
    homes: tuple[Home, Home], net: Net, pool: Pool, tools: Tools, database: str
) -> None:
    home, other = homes
    async with ingesting(net, pool, tools), ingesting(net, pool, tools, relay=other.relay):
        ana = await sung(net, home, pool)
        copy = ana.frozen()
        other.pds.host(copy)
        other.write(copy, R2, "Not there")  # signed with the right key, and it continues the chain
        await committed(pool, other)
        assert await one(pool, TITLES) == "One"
        assert await one(pool, "select state, rev from repo") == ("desynchronized", ana.rev)
        async with resyncing(database):
            await in_step(pool, ana)
        home.write(ana, R3, "Three")
        await committed(pool, home)
        assert await one(pool, TITLES) == "One, Three"
        assert await one(pool, "select state from repo") == "active"
    async with pool.connection() as conn:
        doubts = [e for e in await told(conn) if e.kind is Kind.DOUBT and e.verdict == "another host"]
    assert [e.reason for e in doubts] == [
        f"{other.pds.origin} tells of it, though its home is {home.pds.origin}; looked up, and read there"
    ]


async def test_b16_an_account_that_moved_is_believed_at_its_new_home_once_it_was_looked_up(
    homes: tuple[Home, Home], net: Net, pool: Pool, tools: Tools, database: str
) -> None:
    home, other = homes
    async with (
        ingesting(net, pool, tools),
        ingesting(net, pool, tools, relay=other.relay),
        resyncing(database),
    ):
        ana = await sung(net, home, pool)
        home.pds.host(ana.frozen())  # which goes on as if nothing were
        other.pds.host(ana)
        net.plc.publish(ana, other.pds.origin)  # with the same key
        other.write(ana, R2, "From its new home")  # the first that is heard of the move
        await until(lambda: one(pool, "select pds from repo"), other.pds.origin)
        await in_step(pool, ana)
        assert await one(pool, TITLES) == "One, From its new home"
        other.write(ana, R3, "Three")
        await committed(pool, other)
        assert await one(pool, TITLES) == "One, From its new home, Three"
        assert await one(pool, "select state from repo") == "active"


async def test_a_relay_says_that_it_is_no_pds() -> None:
    async with (
        FakePds(collects=True) as relay,
        FakePds() as pds,
        GuardedClient(allow_loopback=True) as client,
    ):
        assert await SyncHost(client, pds.origin).is_pds()
        assert not await SyncHost(client, relay.origin).is_pds()
