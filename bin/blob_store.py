"""The blob store that the settings name: S3, else a folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from bin.settings import Settings
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import BlobStore


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[BlobStore]:
    """For the block. An S3 is first asked when it is used."""
    if settings.s3_bucket is None:
        yield FilesystemStore(settings.blob_folder)
        return
    # Here: what speaks to an S3 is loaded by those who have one, and takes a sixth of a second.
    from storage.blobs.s3 import S3Store
    from storage.blobs.s3_api import S3Config

    # The settings have all four, or none.
    assert settings.s3_private_bucket
    assert settings.s3_access_key
    assert settings.s3_secret_key
    config = S3Config(
        public_bucket=settings.s3_bucket,
        private_bucket=settings.s3_private_bucket,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.get_secret_value(),
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
    )
    async with S3Store(config) as store:
        yield store
