from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lexicons.catalog import Catalog
from tests.integration.appview.player.room import Room, opened


@pytest.fixture
async def room(database: str, tmp_path: Path, catalog: Catalog) -> AsyncIterator[Room]:
    async with opened(database, tmp_path / "keys", catalog) as room:
        yield room
