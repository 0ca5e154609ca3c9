from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from storage.postgres import Connection
from tests.integration.jobs.doing import connect


@pytest.fixture
async def conn(database: str) -> AsyncIterator[Connection]:
    """To a database in which jobs leave what tests look at."""
    async with await connect(database) as opened:
        yield opened
