"""What tests of scans and decisions start from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.moderation.court import Court, sitting
from tests.integration.moderation.judging import Bench, judging
from tests.integration.moderation.scanned import House, housed


@pytest.fixture
async def bench(database: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with judging(database, tmp_path) as bench:
        yield bench


@pytest.fixture
async def court(database: str, tmp_path: Path) -> AsyncIterator[Court]:
    async with sitting(database, tmp_path) as court:
        yield court


@pytest.fixture
async def house(database: str, tmp_path: Path) -> AsyncIterator[House]:
    async with housed(database, tmp_path) as house:
        yield house


@pytest.fixture
async def track(house: House) -> str:
    """In the house, its sound is `one`."""
    uri = house.seed.track(house.seed.account("ann"), "one")
    await house.play(uri, b"one")
    return uri
