from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage.blobs.collector import stale
from storage.blobs.store import StagedObject

NOW = datetime(2026, 11, 28, tzinfo=UTC)
KEEP = timedelta(days=1)


def test_an_upload_is_stale_when_neither_its_bytes_nor_its_row_moved() -> None:
    old, new = NOW - timedelta(days=2), NOW - timedelta(hours=2)
    staged = [StagedObject(name, 1, at) for name, at in [("aa", old), ("bb", new), ("cc", old), ("dd", old)]]
    touched = {"aa": old, "bb": old, "cc": new, "ee": old, "ff": new}
    assert stale(staged, touched, NOW, KEEP) == ["aa", "dd", "ee"]


def test_what_is_just_old_enough_stays() -> None:
    assert stale([StagedObject("a", 1, NOW - KEEP)], {}, NOW, KEEP) == []
