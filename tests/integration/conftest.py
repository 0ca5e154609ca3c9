from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from storage.postgres import Connection
from tests.devnet.fixtures import _devnet_when_marked, devnet_packages, net
from tests.s3.fixtures import swift, swift_packages

__all__ = ["_devnet_when_marked", "devnet_packages", "net", "swift", "swift_packages"]


@pytest.fixture
async def conn(database: str) -> AsyncIterator[Connection]:
    """To the test's database; each statement is a transaction, unless the test begins one."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened
