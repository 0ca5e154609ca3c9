"""What tests of decisions start from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.moderation.judging import Bench, judging


@pytest.fixture
async def bench(database: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with judging(database, tmp_path) as bench:
        yield bench
