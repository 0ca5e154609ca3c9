"""What acceptance tests may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.world import World, opened


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    """Two PDSs, `ingest` reading both, `web` answering, on a database of this test's own."""
    async with opened(database, tmp_path) as world:
        yield world
