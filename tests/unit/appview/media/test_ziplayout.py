from __future__ import annotations

import io
import subprocess
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appview.media.ziplayout import FileNames, Layout, Member
from tests.conftest import require

WHEN = datetime(2026, 11, 28, 18, 30, 42, tzinfo=UTC)
GIB = 1 << 30


def member(name: str, data: bytes) -> Member[bytes]:
    return Member(name, len(data), zlib.crc32(data), WHEN, data)


def built(layout: Layout[bytes], start: int = 0, stop: int | None = None) -> bytes:
    pieces = layout.pieces(start, layout.size if stop is None else stop)
    return b"".join(
        piece if isinstance(piece, bytes) else piece.source[piece.start : piece.stop] for piece in pieces
    )


FILES = {
    "one.mp3": b"x" * 1000,
    "empty.txt": b"",
    "Ünï/codé 🎧.flac": bytes(range(256)) * 10,
    "last.json": b"{}",
}
LAYOUT = Layout([member(name, data) for name, data in FILES.items()])
WHOLE = built(LAYOUT)


def test_the_length_is_exact() -> None:
    assert len(WHOLE) == LAYOUT.size
    empty: Layout[bytes] = Layout([])
    assert len(built(empty)) == empty.size == 22


def test_another_implementation_reads_it() -> None:
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as file:
        assert file.testzip() is None
        assert {info.filename: file.read(info) for info in file.infolist()} == FILES
        assert {info.date_time for info in file.infolist()} == {(2026, 11, 28, 18, 30, 42)}
        assert {info.external_attr >> 16 for info in file.infolist()} == {0o100644}


def test_unzip_reads_it(tmp_path: Path) -> None:
    if which("unzip") is None:
        require("unzip", "the program is not installed")
    path = tmp_path / "all.zip"
    path.write_bytes(WHOLE)
    done = subprocess.run(["unzip", "-t", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "No errors detected" in done.stdout


@given(start=st.integers(0, LAYOUT.size), size=st.integers(0, LAYOUT.size))
def test_any_part_is_the_same_bytes(start: int, size: int) -> None:
    stop = min(LAYOUT.size, start + size)
    assert built(LAYOUT, start, stop) == WHOLE[start:stop]


class Sparse(io.RawIOBase):
    """A ZIP whose members are zeros that nobody holds: for sizes beyond four gigabytes."""

    def __init__(self, layout: Layout[None]) -> None:
        self._layout = layout
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._layout.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        stop = min(self._layout.size, self._at + len(view))
        data = b"".join(
            piece if isinstance(piece, bytes) else bytes(piece.stop - piece.start)
            for piece in self._layout.pieces(self._at, stop)
        )
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


@pytest.mark.parametrize(
    "sizes",
    [[3 * GIB, 3 * GIB, 100], [5 * GIB, 100], [100, 4 * GIB - 1, 100], [4 * GIB - 2, 100]],
    ids=["far", "large", "at-the-limit", "below-the-limit"],
)
def test_what_does_not_fit_into_32_bits_is_read_by_another_implementation(sizes: list[int]) -> None:
    crc = zlib.crc32(bytes(100))
    layout = Layout([Member(f"{n}.bin", size, crc, WHEN, None) for n, size in enumerate(sizes)])
    with zipfile.ZipFile(io.BufferedReader(Sparse(layout))) as file:
        assert [info.file_size for info in file.infolist()] == sizes
        for info in file.infolist():
            if info.file_size == 100:
                assert file.read(info) == bytes(100)
            else:
                with file.open(info) as opened:  # its header is where the directory says
                    assert opened.read(10) == bytes(10)


def test_more_members_than_16_bits_count() -> None:
    layout = Layout([member(f"{number}", b"") for number in range(66_000)])
    with zipfile.ZipFile(io.BytesIO(built(layout))) as file:
        assert len(file.infolist()) == 66_000


@pytest.mark.parametrize("year", [1970, 1980, 2107, 2200])
def test_times_that_dos_did_not_know_are_the_nearest(year: int) -> None:
    layout = Layout([Member("x", 0, 0, datetime(year, 1, 1, tzinfo=UTC), b"")])
    with zipfile.ZipFile(io.BytesIO(built(layout))) as file:
        assert file.infolist()[0].date_time[0] == min(2107, max(1980, year))


@pytest.mark.parametrize("name", ["", "/etc/passwd", "a/../b", "..", "a\\b", "a\0b", "a//b", "x" * 66_000])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"name"):
        Layout([member(name, b"")])


def test_two_of_a_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        Layout([member("a", b""), member("a", b"")])


def test_the_tag_changes_with_what_is_in_it() -> None:
    tags = {
        Layout(members).etag
        for members in (
            [member("a", b"1")],
            [member("b", b"1")],
            [member("a", b"2")],
            [member("a", b"1"), member("b", b"")],
        )
    }
    assert len(tags) == 4
    assert Layout([member("a", b"1")]).etag == Layout([member("a", b"1")]).etag


def test_titles_become_names_that_every_system_takes() -> None:
    titles = ["A/B: “C”?", "a_b_ “c”_", "..", "", "x" * 300, "e\u0301", "é", "tab\there"]
    names = FileNames()
    assert [names.take(title, ".mp3") for title in titles] == [
        "A_B_ “C”_.mp3",
        "a_b_ “c”_ (2).mp3",
        "untitled.mp3",
        "untitled (2).mp3",
        "x" * 200 + ".mp3",
        "é.mp3",
        "é (2).mp3",
        "tab_here.mp3",
    ]
