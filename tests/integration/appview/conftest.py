from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lexicons.catalog import Catalog
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import World, served


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
async def world(database: str, catalog: Catalog) -> AsyncIterator[World]:
    """An empty database, a way to fill it, a server on it."""
    seed = Seed(database, catalog)
    try:
        async with served(database, catalog) as server:
            yield World(server, seed, database)
    finally:
        seed.close()
