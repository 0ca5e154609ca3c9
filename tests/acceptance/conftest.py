"""What acceptance tests may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance import town as towns
from tests.acceptance.town import Town
from tests.acceptance.world import World, opened
from tests.devnet.fixtures import _devnet_when_marked, devnet_packages, net
from tests.devnet.install import InstallFailed, ensure

__all__ = ["_devnet_when_marked", "devnet_packages", "net", "town", "world"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """An install belongs before the first test: it takes longer than a test may."""
    if not config.option.collectonly and any(item.get_closest_marker("devnet") for item in items):
        with suppress(InstallFailed):  # each test that needs it will say so
            ensure()


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    """Two PDSs, `ingest` reading both, `web` answering, on a database of this test's own."""
    async with opened(database, tmp_path) as world:
        yield world


@pytest.fixture
async def town(database: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A PDS, and all of plyr that makes tracks, on a database of this test's own."""
    async with towns.opened(database, tmp_path) as town:
        yield town
