"""A CAR v1 file of any size: blocks by CID, each proven by its hash when it is read.

The file is gone over once, hopping from length to length, and of the blocks that may be wanted the
place is kept: tree nodes, and records in which a `needle` occurs. Should another one be wanted after
all, the file is gone over again and every place is kept. A file of up to 8 MiB is held in memory,
from a larger one blocks are read one by one. (Mapping it would count as our memory.)

What was not read was not hashed. A wrong place is harmless, for the bytes there have the wrong hash.
A file that ends inside a section is refused; one that ends between two lacks blocks, which `get`
tells (T17, T18).
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from firehose.car import BadCar, read_header, read_varint

MAX_BLOCK = 4 * 1024 * 1024  # no larger one is ever given
MAX_HELD = 8 * 1024 * 1024
MAX_PLACES = 16_000_000
_CHUNK = 131_072
_MAX_HEADER = 65_536
_A2 = 0xA2
_NODE_START = b"\xa2ae"  # {"e": entries, "l": link}
_HEAD = 1024
_MAX_DICT = 200_000
_ENTRY = 12


class Places:
    """Where blocks begin, by 8 bytes of their CIDs, for millions of them: 14 bytes each or so.

    A table of byte strings, for a dict would be ten times as large. Made of the dict that grew too
    large, and about to grow: of a block that comes again, another place may count.
    """

    _MAX_BUCKET = 2048  # entries; of 16 million hashes one bucket in 65,536 holds some 250

    def __init__(self, places: dict[bytes, int]) -> None:
        self._buckets = [b""] * 65_536
        self._left = MAX_PLACES
        for key, place in places.items():
            self[key] = place

    def __setitem__(self, key: bytes, place: int) -> None:
        number = key[0] << 8 | key[1]
        bucket = self._buckets[number] + key[2:] + place.to_bytes(6, "big")
        if len(bucket) > self._MAX_BUCKET * _ENTRY:
            bucket = self._without_repeats(bucket)
        self._left -= 1
        if self._left < 0:
            raise BadCar("too many blocks")
        self._buckets[number] = bucket

    def get(self, key: bytes) -> int | None:
        bucket, rest = self._buckets[key[0] << 8 | key[1]], key[2:]
        at = bucket.find(rest)
        while at % _ENTRY and at >= 0:
            at = bucket.find(rest, at + 1)
        return None if at < 0 else int.from_bytes(bucket[at + 6 : at + _ENTRY], "big")

    def _without_repeats(self, bucket: bytes) -> bytes:
        """A bucket overflows when one block comes thousands of times, or when CIDs are made up so
        that finding one of them takes long."""
        entries = [bucket[at : at + _ENTRY] for at in range(0, len(bucket), _ENTRY)]
        kept = {entry[:6]: entry for entry in entries}
        if len(kept) > self._MAX_BUCKET // 2:
            raise BadCar("the blocks' CIDs are no hashes")
        self._left += len(entries) - len(kept)
        return b"".join(kept.values())


class CarFile:
    """An open file; use it as a context manager. `size` is in bytes. All methods raise `BadCar`.

    The catch: the file must not change meanwhile. One that the caller opened stays open.
    """

    def __init__(self, file: Path | BinaryIO) -> None:
        self._own = file.open("rb") if isinstance(file, Path) else None
        self._places: dict[bytes, int] | Places | None = None
        self._has_all = False
        try:
            self.size, self._read = _reader(self._own or cast(BinaryIO, file))
            self.roots, self._first = read_header(self._read(0, _MAX_HEADER))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._own is not None:
            self._own.close()

    def first(self) -> tuple[bytes, bytes] | None:
        """CID and block of the file's first section, the commit's in most files; None if there is none.

        The only block that can be had without going over the file. Its hash is not checked.
        """
        return self._section(self._first) if self._first < self.size else None

    def index(self, needle: bytes = b"") -> None:
        """Goes over the file, unless it was: for nodes, and blocks in which `needle` occurs (the empty
        one does everywhere). `get` does so by itself; with a needle it needs less memory and time."""
        if self._places is None:
            self._places = self._scan(needle)
            self._has_all = not needle

    def get(self, cid: bytes) -> bytes | None:
        """The block of a CID of 36 bytes, its hash checked; None if the file has none."""
        if self._places is None:
            self.index()
        key = cid[4:12]
        place = self._places.get(key) if self._places is not None else None
        if place is None and not self._has_all:
            self._places = None
            self.index()
            return self.get(cid)
        if place is None:
            return None
        found, block = self._section(place)
        if found != cid or sha256(block).digest() != cid[4:]:
            raise BadCar("a block does not hash to its CID")
        return block

    def _section(self, place: int) -> tuple[bytes, bytes]:
        head = self._read(place, _HEAD)
        size, start = head[0] if len(head) > 36 else 128, 1
        if size > 127:
            size, start = read_varint(head, 0)
        stop = start + size
        if not 36 <= size <= MAX_BLOCK:
            raise BadCar("a section is too short for a CID, or too long for a block")
        if stop > len(head):
            head += self._read(place + len(head), stop - len(head))
            if stop > len(head):
                raise BadCar("cut inside a block")
        return head[start : start + 36], head[start + 36 : stop]

    def _scan(self, needle: bytes) -> dict[bytes, int] | Places:
        """The places of the nodes and of the blocks that `needle` occurs in; the empty one does in all."""
        places: dict[bytes, int] | Places = {}
        base = self._first
        while base < self.size:
            chunk = self._read(base, _CHUNK)
            if not chunk:
                raise BadCar("the file became shorter")
            base += _scan_chunk(chunk, base, needle, places)
            if type(places) is dict and len(places) > _MAX_DICT:
                places = Places(places)
        if base > self.size:
            raise BadCar("cut inside a block")
        return places


def _scan_chunk(chunk: bytes, base: int, needle: bytes, places: dict[bytes, int] | Places) -> int:
    """How far the sections reach that begin in the chunk, but for one that ends behind it.

    That one's place is kept without a look, unless the chunk is too small for it alone.
    """
    end, at, find, is_at = len(chunk), 0, chunk.find, chunk.startswith
    hit = find(needle)
    while at < end:
        here = at
        size = chunk[at]
        if size < 128:
            at += 1
        else:
            # nearly all lengths have one or two bytes
            high = chunk[at + 1] if at + 1 < end else 0
            if 0 < high < 128:
                size += (high << 7) - 128
                at += 2
            elif end - at < 9 and at:
                return at
            else:
                size, at = read_varint(chunk, at)
        stop = at + size
        if size < 37:
            if size < 36:
                raise BadCar("a section is too short for a CID and a block")
            hit = at  # an empty block: nothing else can be looked at
        if stop > end:
            if here:
                return here
            if end - at >= 36:
                places[chunk[at + 4 : at + 12]] = base
            return stop
        if 0 <= hit < stop:
            places[chunk[at + 4 : at + 12]] = base + here
            hit = find(needle, stop)
        elif chunk[at + 36] == _A2 and is_at(_NODE_START, at + 36):
            places[chunk[at + 4 : at + 12]] = base + here
        at = stop
    return at


def _reader(file: BinaryIO) -> tuple[int, Callable[[int, int], bytes]]:
    """The file's size, and what reads (offset, size) of it: less only at its end."""
    size = file.seek(0, os.SEEK_END)
    if size > MAX_HELD:
        try:
            number = file.fileno()
        except io.UnsupportedOperation:
            pass  # it is in memory anyway
        else:
            file.flush()
            return size, lambda offset, count: os.pread(number, count, offset)
    file.seek(0)
    data = file.read()
    return len(data), lambda offset, count: data[offset : offset + count]
