from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lexicons.catalog import Catalog
from storage.blobs.filesystem import FilesystemStore
from tests.integration.appview.uploads.studio import Studio, opened


@pytest.fixture
async def studio(database: str, catalog: Catalog, tmp_path: Path) -> AsyncIterator[Studio]:
    store = FilesystemStore(tmp_path / "blobs")
    async with opened(database, catalog, store, tmp_path / "keys") as studio:
        yield studio
