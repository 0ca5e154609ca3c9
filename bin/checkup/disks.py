"""Where bytes are kept: the blob store takes, gives and removes them, and the disks have room."""

from __future__ import annotations

import os
import secrets
import shutil
import uuid
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from bin import blob_store
from bin.checkup.verdict import Finding, fail, ok, skipped, warn
from bin.settings import Settings
from storage.blobs.store import Area, BlobFailed

SUBJECT = "storage"
LEAST_BYTES = 1 << 30
_UPLOADS = 4  # of the largest size, each on its way in: the sound, what is made of it, and room to make it


async def blobs(settings: Settings) -> list[Finding]:
    """Whether the store takes and gives; nothing stays of what is tried."""
    where = settings.s3_bucket or str(settings.blob_folder)
    if settings.s3_bucket is None and not os.path.lexists(settings.blob_folder):
        return [skipped(SUBJECT, f"{where} is not there yet: it is made at the first start")]
    todo = (
        f"let this user write below {where}, or set PLYR_BLOB_DIR"
        if settings.s3_bucket is None
        else "see PLYR_S3_…: the key must be able to read, write and list both buckets"
    )
    name, told = f"doctor-{uuid.uuid4()}", secrets.token_bytes(1024)
    try:
        async with blob_store.opened(settings) as store:
            try:
                await store.stage(name, _once(told))
                back = b"".join([chunk async for chunk in store.read_staged(name)])
            finally:
                await store.unstage(name)
            await anext(store.list(Area.IMAGE), None)
    except (BlobFailed, OSError) as error:
        return [fail(SUBJECT, f"{where} cannot be used: {error}", todo)]
    if back != told:
        return [
            fail(SUBJECT, f"{where} gave other bytes than it got", "check the disk, then plyr blobs audit")
        ]
    return [ok(SUBJECT, f"{where} takes and gives")]


async def room(settings: Settings) -> list[Finding]:
    """A finding for each disk that we write on."""
    folders = [settings.data_dir, settings.archive_folder, settings.dump_folder]
    if settings.s3_bucket is None:
        folders.append(settings.blob_folder)
    wanted = max(LEAST_BYTES, _UPLOADS * settings.max_upload_mb << 20)
    return [verdict(folder, shutil.disk_usage(folder).free, wanted) for folder in _disks(folders)]


def verdict(folder: Path, free: int, wanted: int) -> Finding:
    text = f"{folder}: {free / (1 << 30):,.1f} GiB free"
    if free < LEAST_BYTES:
        return fail("disk", text, "make room now: plyr blobs collect, older dumps, or a larger disk")
    if free < wanted:
        text += f", of {wanted / (1 << 30):,.1f} that {_UPLOADS} large uploads may need"
        return warn("disk", text, "make room, or lower PLYR_MAX_UPLOAD_MB")
    return ok("disk", text)


def _disks(folders: Iterable[Path]) -> list[Path]:
    """Of these folders, or what of their way there is, one on each disk."""
    found: dict[int, Path] = {}
    for folder in folders:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        found.setdefault(there.stat().st_dev, there)
    return list(found.values())


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
