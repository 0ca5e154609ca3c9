"""For conftests: an S3 server for the whole test session; for tests, buckets of their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aioboto3
import pytest

from storage.blobs.s3_api import S3Config
from tests.conftest import require
from tests.devnet.install import InstallFailed
from tests.s3.install import ensure
from tests.s3.server import Swift


@pytest.fixture(scope="session")
def swift_packages() -> Path:
    try:
        return ensure()
    except InstallFailed as failure:
        require("an S3 server", str(failure))


@pytest.fixture(scope="session")
def swift(swift_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with Swift(swift_packages, tmp_path_factory.mktemp("swift")) as server:
        yield server


async def two_buckets(server: Swift) -> S3Config:
    """Empty ones, of nobody else."""
    tail = uuid.uuid4().hex[:12]
    config = S3Config(
        public_bucket=f"public-{tail}",
        private_bucket=f"private-{tail}",
        access_key=server.access_key,
        secret_key=server.secret_key,
        endpoint=server.endpoint,
        region=server.region,
    )
    session = aioboto3.Session(
        aws_access_key_id=config.access_key,
        aws_secret_access_key=config.secret_key,
        region_name=config.region,
    )
    connecting: Any = session.client("s3", endpoint_url=config.endpoint)
    async with connecting as client:
        for bucket in (config.public_bucket, config.private_bucket):
            await client.create_bucket(Bucket=bucket)
    return config
