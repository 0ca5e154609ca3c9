from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.appview.social.square import Square, squared


@pytest.fixture
async def square(database: str, tmp_path: Path) -> AsyncIterator[Square]:
    async with squared(database, tmp_path) as square:
        yield square
