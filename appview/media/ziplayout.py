"""A ZIP that nobody has built: where each of its bytes comes from, known before the first of them is sent.

Members are stored, not packed (sound does not pack), and their sizes and CRC-32s are known since they were
uploaded. So every header can be written down at once, the length of the whole is exact, and any part of it
can be sent by itself:

    header │ bytes of a member │ header │ bytes of a member │ … │ directory

After APPNOTE 6.3.10; the fields of ZIP64 appear where a size or place needs them, and nowhere else.
"""

from __future__ import annotations

import hashlib
import struct
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

S = TypeVar("S")

_LIMIT_32 = 0xFFFF_FFFF
_LIMIT_16 = 0xFFFF
_UTF_8 = 0x800
_STORED = 0
_VERSION, _VERSION_64 = 20, 45
_UNIX = 3 << 8
_MODE = 0o100644 << 16
_MOST_NAME_BYTES = 200
_FORBIDDEN = set('<>:"/\\|?*')


@dataclass(frozen=True, slots=True)
class Member(Generic[S]):
    """A file to be in the ZIP. `source`: whoever sends knows how to read it."""

    name: str
    size: int
    crc32: int
    modified: datetime
    source: S


@dataclass(frozen=True, slots=True)
class Part(Generic[S]):
    """Bytes `start` to `stop` of a member."""

    source: S
    start: int
    stop: int


class Layout(Generic[S]):
    """The ZIP of these members, in their order. Raises ValueError for a name that is no file's, or comes
    twice."""

    def __init__(self, members: Sequence[Member[S]]) -> None:
        names = [member.name for member in members]
        if len(set(names)) != len(names):
            raise ValueError("two members have the same name")
        self._places: list[tuple[int, bytes | Member[S]]] = []
        self.size = 0
        directory: list[bytes] = []
        for member in members:
            _check(member.name)
            directory.append(_entry(member, self.size))
            self._append(_header(member))
            self._append(member)
        at, listed = self.size, b"".join(directory)
        self._append(listed + _end(len(members), at, len(listed)))
        digest = hashlib.sha256(b"".join(directory))
        self.etag = f'"{digest.hexdigest()}"'

    def _append(self, what: bytes | Member[S]) -> None:
        self._places.append((self.size, what))
        self.size += len(what) if isinstance(what, bytes) else what.size

    def pieces(self, start: int, stop: int) -> Iterator[bytes | Part[S]]:
        """What the bytes `start` to `stop` of the ZIP are, in order."""
        for at, what in self._from(start):
            if at >= stop:
                return
            size = len(what) if isinstance(what, bytes) else what.size
            first, last = max(0, start - at), min(size, stop - at)
            if first < last:
                yield what[first:last] if isinstance(what, bytes) else Part(what.source, first, last)

    def _from(self, start: int) -> Iterator[tuple[int, bytes | Member[S]]]:
        low, high = 0, len(self._places)
        while high - low > 1:  # the last place that begins at `start` or before
            middle = (low + high) // 2
            if self._places[middle][0] <= start:
                low = middle
            else:
                high = middle
        # One of no bytes may begin where another does: go back to the first.
        while low and self._places[low][0] == start:
            low -= 1
        yield from self._places[low:]


class FileNames:
    """Gives out names for the files of a ZIP that every system takes, each but once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, title: str, suffix: str) -> str:
        """A name for this title; the second of one becomes `name (2)`."""
        text = unicodedata.normalize("NFC", title)
        text = "".join("_" if c in _FORBIDDEN or not c.isprintable() else c for c in text).strip(" .")
        stem = _cut(text) or "untitled"
        name, number = stem + suffix, 1
        while name.casefold() in self._taken:  # some systems don't tell a from A
            number += 1
            name = f"{stem} ({number}){suffix}"
        self._taken.add(name.casefold())
        return name


def _cut(text: str) -> str:
    return text.encode()[:_MOST_NAME_BYTES].decode(errors="ignore").rstrip(" .")


def _check(name: str) -> None:
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name for a file in a ZIP")
    if len(name.encode()) > _LIMIT_16:
        raise ValueError("a name in a ZIP has at most 65,535 bytes")


def _header(member: Member[S]) -> bytes:
    name = member.name.encode()
    large = member.size >= _LIMIT_32
    extra = struct.pack("<HHQQ", 1, 16, member.size, member.size) if large else b""
    size = _LIMIT_32 if large else member.size
    head = struct.pack(
        "<IHHHIIIIHH",
        0x04034B50,
        _VERSION_64 if large else _VERSION,
        _UTF_8,
        _STORED,
        _dos(member.modified),
        member.crc32,
        size,
        size,
        len(name),
        len(extra),
    )
    return head + name + extra


def _entry(member: Member[S], at: int) -> bytes:
    """The member's place in the directory."""
    name = member.name.encode()
    large, far = member.size >= _LIMIT_32, at >= _LIMIT_32
    fields = ([member.size, member.size] if large else []) + ([at] if far else [])
    extra = struct.pack(f"<HH{len(fields)}Q", 1, 8 * len(fields), *fields) if fields else b""
    size = _LIMIT_32 if large else member.size
    head = struct.pack(
        "<IHHHHIIIIHHHHHII",
        0x02014B50,
        _UNIX | _VERSION_64,
        _VERSION_64 if fields else _VERSION,
        _UTF_8,
        _STORED,
        _dos(member.modified),
        member.crc32,
        size,
        size,
        len(name),
        len(extra),
        0,
        0,
        0,
        _MODE,
        _LIMIT_32 if far else at,
    )
    return head + name + extra


def _end(count: int, at: int, size: int) -> bytes:
    """The end of the directory, which begins `at` and has `size` bytes."""
    end = struct.pack(
        "<IHHHHIIH",
        0x06054B50,
        0,
        0,
        min(count, _LIMIT_16),
        min(count, _LIMIT_16),
        min(size, _LIMIT_32),
        min(at, _LIMIT_32),
        0,
    )
    if count < _LIMIT_16 and size < _LIMIT_32 and at < _LIMIT_32:
        return end
    large = struct.pack(
        "<IQHHIIQQQQ", 0x06064B50, 44, _UNIX | _VERSION_64, _VERSION_64, 0, 0, count, count, size, at
    )
    return large + struct.pack("<IIQI", 0x07064B50, 0, at + size, 1) + end


def _dos(moment: datetime) -> int:
    """Date and time as MS-DOS had them, in UTC: two seconds exact, from 1980 to 2107."""
    t = moment.astimezone(UTC)
    if t.year < 1980:
        return 0x0021_0000
    if t.year > 2107:
        return 0xFF9F_BF7D
    date = (t.year - 1980) << 9 | t.month << 5 | t.day
    return date << 16 | t.hour << 11 | t.minute << 5 | t.second // 2
