"""What tests of the indexer start from: a database, a network of small servers, somebody with a repo."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from storage.postgres import Connection, Pool, make_pool
from tests.fakenet.pds import FakePds
from tests.fakenet.world import Author
from tests.integration.indexer.network import Net, Tools, equipped, made


@pytest.fixture
async def second(another_database: str) -> AsyncIterator[Connection]:
    """To another database, for tests that compare."""
    async with await psycopg.AsyncConnection.connect(another_database, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with make_pool(database, max_size=8, name="test") as pool:
        yield pool


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    async with made() as net:
        yield net


@pytest.fixture
async def tools(net: Net) -> AsyncIterator[Tools]:
    async with equipped(net) as tools:
        yield tools


@pytest.fixture
async def pds() -> AsyncIterator[FakePds]:
    async with FakePds(patience_s=1) as server:
        yield server


@pytest.fixture
def ana() -> Author:
    return Author("ana")


@pytest.fixture
def bo() -> Author:
    return Author("bo")
