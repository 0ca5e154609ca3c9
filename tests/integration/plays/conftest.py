from __future__ import annotations

from collections.abc import Iterator

import pytest

from lexicons.catalog import Catalog
from tests.integration.appview.seed import Seed


@pytest.fixture
def seed(database: str) -> Iterator[Seed]:
    made = Seed(database, Catalog.load())
    yield made
    made.close()
