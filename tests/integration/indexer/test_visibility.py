"""Whoever hides an account and whoever writes its records at the same moment count the same things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from indexer.apply import apply_batch
from indexer.prepare import prepare
from indexer.standing import show
from lexicons.catalog import Catalog
from storage import accounts, repos
from storage.postgres import Connection
from tests.fakenet.world import LIKE, TRACK, Author, like, track

CATALOG = Catalog.load()
R1, R2, R3 = "3mpt222222222", "3mpt222222333", "3mpt222222444"


@pytest.fixture
async def two(database: str) -> AsyncIterator[tuple[Connection, Connection]]:
    async with (
        await psycopg.AsyncConnection.connect(database, autocommit=True) as one,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as other,
    ):
        yield one, other


async def write(
    conn: Connection, author: Author, collection: str, rkey: str, record: dict[str, object]
) -> None:
    batch = prepare([author.create(collection, rkey, record)], CATALOG)
    await apply_batch(
        conn, batch, catalog=CATALOG, source="wss://relay.example", seq=None, identities=[author.identity]
    )


async def likes(conn: Connection) -> list[int]:
    return [n for (n,) in await (await conn.execute("select likes from track_stat order by id")).fetchall()]


@pytest.mark.parametrize("in_step", [True, False])
async def test_a_like_that_waits_for_its_account_to_be_hidden_is_not_counted(
    two: tuple[Connection, Connection], in_step: bool
) -> None:
    hiding, writing = two
    ana = Author("ana")
    await write(writing, ana, TRACK, R1, track("One"))
    if not in_step:
        ana.create(TRACK, R2, track("Lost on its way"))
    async with hiding.transaction():
        standing = (await repos.lock(hiding, [ana.did]))[ana.did]
        await accounts.take_down(hiding, standing.repo.id, "spam")
        waiting = asyncio.create_task(write(writing, ana, LIKE, R3, like(ana.uri(TRACK, R1))))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await show(hiding, standing, active=True, taken_down="spam")
    await waiting
    assert await likes(hiding) == [0]
    async with hiding.transaction():
        standing = (await repos.lock(hiding, [ana.did]))[ana.did]
        await accounts.take_down(hiding, standing.repo.id, None)
        await show(hiding, standing, active=True, taken_down=None)
    assert await likes(hiding) == [1]
