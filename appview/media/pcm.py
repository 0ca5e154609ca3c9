"""Where the samples lie in a WAV or AIFF: those that can be read from any place without decoding."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appview.media.failures import Truncated

_WAVE_FORMATS = {(1, 8): "u8", (1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le", (3, 32): "f32le"}
_AIFF_FORMATS = {8: "s8", 16: "s16be", 24: "s24be", 32: "s32be"}
_AIFC_FORMATS = {
    b"NONE": _AIFF_FORMATS,
    b"sowt": {16: "s16le"},
    b"fl32": {32: "f32be"},
    b"FL32": {32: "f32be"},
}
_MOST_CHUNKS = 1000


@dataclass(frozen=True, slots=True)
class Pcm:
    """Interleaved samples in a file, in ffmpeg's name for their format. `frames`: samples of each channel."""

    path: Path
    offset: int
    format: str
    rate: int
    channels: int
    frames: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * int("".join(filter(str.isdigit, self.format))) // 8

    @property
    def duration_s(self) -> float:
        return self.frames / self.rate


def locate(path: Path) -> Pcm | None:
    """The samples of a WAV or AIFF file; None where they are packed in another way, or it is no such file.
    Raises Truncated where the file ends before its samples do."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[8:12] == b"WAVE" and head[:4] in (b"RIFF", b"RF64", b"BW64"):
            return _wave(file, path)
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            return _aiff(file, path, compressed=head[8:12] == b"AIFC")
    return None


def _wave(file: BinaryIO, path: Path) -> Pcm | None:
    told: tuple[str, int, int] | None = None
    large: int | None = None  # ds64: the size that does not fit into 32 bits
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return None
        name, size = struct.unpack("<4sI", head)
        at = file.tell()
        if name == b"ds64":
            large = struct.unpack("<8xQ", file.read(16))[0]
        elif name == b"fmt ":
            tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", file.read(16))
            if tag == 0xFFFE and size >= 40:  # the real tag is the beginning of a GUID
                tag = struct.unpack("<8xH", file.read(10))[0]
            if (tag, bits) not in _WAVE_FORMATS:
                return None
            told = (_WAVE_FORMATS[tag, bits], rate, channels)
        elif name == b"data":
            if size == 0xFFFFFFFF:  # RF64, or written to a pipe by somebody who did not know how much comes
                size = large if large is not None else _size(file) - at
            return None if told is None else _checked(file, path, at, size, *told)
        file.seek(at + size + size % 2)
    return None


def _aiff(file: BinaryIO, path: Path, *, compressed: bool) -> Pcm | None:
    told: tuple[str, int, int] | None = None
    data: tuple[int, int] | None = None
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        name, size = struct.unpack(">4sI", head)
        at = file.tell()
        if name == b"COMM":
            channels, _, bits, exponent, mantissa = struct.unpack(">hIhHQ", file.read(18))
            formats = _AIFC_FORMATS.get(file.read(4), {}) if compressed else _AIFF_FORMATS
            if bits not in formats:
                return None
            told = (formats[bits], round(mantissa * 2.0 ** ((exponent & 0x7FFF) - 16446)), channels)
        elif name == b"SSND":
            (skipped,) = struct.unpack(">I", file.read(4))
            data = (at + 8 + skipped, size - 8 - skipped)
        if told is not None and data is not None:
            return _checked(file, path, *data, *told)
        file.seek(at + size + size % 2)
    return None


def _checked(
    file: BinaryIO, path: Path, offset: int, size: int, format: str, rate: int, channels: int
) -> Pcm | None:
    if rate <= 0 or channels <= 0:
        return None
    pcm = Pcm(path, offset, format, rate, channels, 0)
    if (there := _size(file) - offset) < size - size % pcm.frame_bytes:
        raise Truncated(f"the file ends after {there:,} of {size:,} bytes of sound")
    return Pcm(path, offset, format, rate, channels, size // pcm.frame_bytes)


def _size(file: BinaryIO) -> int:
    at = file.tell()
    end = file.seek(0, 2)
    file.seek(at)
    return end
