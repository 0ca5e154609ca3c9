"""How long files stay open, as the system tells it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from appview.media.open_files import MOST, OpenFiles
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Area, Key
from tests.integration.blobs.test_contract import publish

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell")


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "blobs")


def opened(folder: Path) -> int:
    """How many files below a folder this process has open."""
    names: list[str] = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            names.append(os.readlink(each))
        except FileNotFoundError:  # the one that was open to look
            continue
    return sum(name.startswith(f"{folder}/") for name in names)


async def test_who_asks_in_a_row_gets_the_same_file_and_then_it_is_closed(
    store: FilesystemStore, tmp_path: Path
) -> None:
    key = await publish(store, b"sound")
    files = OpenFiles(store)
    assert files.open(key) is files.open(key)
    assert opened(tmp_path) == 1
    async with asyncio.timeout(30):
        while opened(tmp_path):
            await asyncio.sleep(0.05)
    assert files.open(key) is not None
    assert opened(tmp_path) == 1


async def test_no_more_are_kept_than_may_be_and_who_has_one_keeps_it(
    store: FilesystemStore, tmp_path: Path
) -> None:
    files = OpenFiles(store)
    mine = files.open(await publish(store, b"mine"))
    assert mine is not None
    for number in range(MOST + 5):
        files.open(await publish(store, b"%d" % number))
    assert opened(tmp_path) <= MOST + 1
    assert mine.size == 4
    del mine, files
    # The loop still knows when to let go of them.
    async with asyncio.timeout(30):
        while opened(tmp_path):
            await asyncio.sleep(0.05)


async def test_what_is_not_there_is_not_remembered(store: FilesystemStore, tmp_path: Path) -> None:
    files = OpenFiles(store)
    with pytest.raises(FileNotFoundError):
        files.open(Key(Area.AUDIO, "0" * 64))
    assert opened(tmp_path) == 0
    assert files.open(await publish(store, b"sound")) is not None
