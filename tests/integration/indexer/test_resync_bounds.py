"""How much a resync takes on at once: bytes in memory, and each repo once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from firehose.hosts import SyncHost
from firehose.net import GuardedClient
from indexer.compare import Found
from indexer.merge import collections_of
from indexer.snapshot import SMALL_BYTES, fetch, some
from lexicons.syntax import Cid, Nsid, Rkey
from storage import sync
from storage.postgres import Connection
from storage.queries import load
from tests.fakenet.pds import GET_REPO, FakePds
from tests.fakenet.server import Fault
from tests.fakenet.world import TRACK, Author, track
from tests.integration.indexer.resyncing import (
    CATALOG,
    QUICK,
    discovered,
    key,
    live,
    one,
    resynced,
    resyncing,
    until,
)

BULKY = 900_000


async def test_few_records_that_are_bulky_stay_in_their_file_and_are_read(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    for n in range(4):
        ana.create(TRACK, key(f"song{n}"), track("x" * BULKY))
    await discovered(conn, pds, [ana])
    (due,) = await sync.take(conn, limit=1, lease_s=0, busy=[])
    async with GuardedClient(allow_loopback=True) as client:
        snapshot = await fetch(due, SyncHost(client, due.pds), collections_of(CATALOG))
    assert snapshot.records is None
    snapshot.close()
    await resynced(conn, database)
    assert len(await live(conn)) == 4


def test_a_part_ends_where_it_holds_enough() -> None:
    record = Found(Nsid(TRACK), Rkey("1"), Cid(""), bytes(BULKY))
    found = iter([record] * 9)
    assert len(some(found, 100, SMALL_BYTES)) == 3
    assert len(some(found, 2, SMALL_BYTES)) == 2
    assert len(some(found, 100, 9 * BULKY)) == 4
    assert some(found, 100, SMALL_BYTES) == []


async def test_a_repo_that_outlives_its_lease_is_not_fetched_beside_itself(
    conn: Connection, database: str, pds: FakePds, ana: Author
) -> None:
    ana.create(TRACK, key("song"), track("Song"))
    await discovered(conn, pds, [ana])
    pds.fail(Fault.SLOW, GET_REPO, ana.did)
    async with resyncing(database, limits=replace(QUICK, lease_s=0.1)) as resyncer:
        while not resyncer.progress.running:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        assert pds.asked[GET_REPO, ana.did] == 1
        assert resyncer.progress.running == 1
        await until(conn, "error")
        await conn.execute("update repo set resync_due = now()")
        await until(conn, "active")
        assert pds.asked[GET_REPO, ana.did] == 2
    assert await one(conn, "select resync_tries from repo") == 0


@pytest.mark.parametrize(
    ("module", "query", "index"),
    [("sync", "take", "repo_resync_ready"), ("reconcile", "anybody", "repo_doubtful")],
)
async def test_a_million_accounts_that_were_just_found_are_in_nobodys_way(
    conn: Connection, module: str, query: str, index: str
) -> None:
    """Not looked up yet, none of them can be read or compared; so no query goes through them."""
    await conn.execute("insert into repo (did) select 'did:plc:' || n from generate_series(1, 20000) n")
    await conn.execute("analyze repo")
    params = {"limit": 32, "lease_s": 60, "busy": list[str]()}
    plan = await (await conn.execute(f"explain {load(module)[query]}", params)).fetchall()
    assert index in "\n".join(line for (line,) in plan)
