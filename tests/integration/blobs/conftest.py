from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.blobs.filesystem import FilesystemStore
from storage.blobs.s3 import S3Store
from storage.blobs.s3_api import Limits
from storage.blobs.store import BlobStore
from tests.s3.fixtures import two_buckets

# As small as the protocol allows: everything goes in parts that is larger than this.
SMALL = Limits(put_bytes=6 << 20, part_bytes=5 << 20)


@pytest.fixture(params=["filesystem", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    """An empty store of each kind."""
    if request.param == "filesystem":
        yield FilesystemStore(tmp_path / "blobs")
        return
    async with S3Store(await two_buckets(request.getfixturevalue("swift")), SMALL) as s3:
        yield s3
