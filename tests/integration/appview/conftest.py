from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from lexicons.catalog import Catalog
from storage.blobs.filesystem import FilesystemStore
from tests.conftest import new_database
from tests.integration.appview.house import House
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import World, served
from tests.integration.appview.uploads.studio import opened


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


@pytest.fixture(scope="module")
def shared_database(postgres_dsn: str, migrated_template: str) -> Iterator[str]:
    """A migrated database for the tests of one module, which only read what its first fixture wrote."""
    with new_database(postgres_dsn, migrated_template) as dsn:
        yield dsn


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(shared_database: str, catalog: Catalog) -> AsyncIterator[World]:
    """A world in which every method has something to say. Its tests run in the module's event loop."""
    seed = Seed(shared_database, catalog)
    ann = seed.account("ann")
    tracks = [seed.track(ann, f"one {number}") for number in range(3)]
    for track in tracks:
        seed.like(ann, track)
        seed.comment(ann, tracks[0], "hm")
        seed.list_of(ann, "mix", tracks)
    seed.commit()
    try:
        async with served(shared_database, catalog) as server:
            yield World(server, seed, shared_database)
    finally:
        seed.close()


@pytest.fixture
async def house(database: str, catalog: Catalog, tmp_path: Path) -> AsyncIterator[House]:
    seed = Seed(database, catalog)
    store = FilesystemStore(tmp_path / "blobs")
    async with opened(database, catalog, store, tmp_path / "keys") as studio:
        yield House(studio, seed)
    seed.close()
