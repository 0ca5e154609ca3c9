from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.appview.lists.shelf import Shelf, shelved


@pytest.fixture
async def shelf(database: str, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with shelved(database, tmp_path) as shelf:
        yield shelf
