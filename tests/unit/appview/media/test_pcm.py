from __future__ import annotations

import struct
from pathlib import Path

import pytest

from appview.media.failures import Truncated
from appview.media.pcm import Pcm, locate


def chunk(name: bytes, body: bytes, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(body)) + body + bytes(len(body) % 2)


def wave(
    tag: int, bits: int, data: bytes, *, channels: int = 2, between: bytes = b"", size: int | None = None
) -> bytes:
    width = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, 44_100, 44_100 * width, width, bits)
    if tag == 0xFFFE:
        fmt += struct.pack("<HHIH", 22, bits, 3, 1) + bytes(14)
    last = b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", fmt) + between + last


def aiff(bits: int, data: bytes, *, packed: bytes = b"", first: bool = True, skipped: int = 0) -> bytes:
    comm = struct.pack(">hIhHQ", 2, 0, bits, 16383 + 15, 44_100 << 48) + packed
    ssnd = struct.pack(">II", skipped, 0) + bytes(skipped) + data
    chunks = [chunk(b"COMM", comm, ">"), chunk(b"SSND", ssnd, ">")]
    kind = b"AIFC" if packed else b"AIFF"
    return b"FORM\0\0\0\0" + kind + b"".join(chunks if first else reversed(chunks))


def located(tmp_path: Path, data: bytes) -> Pcm | None:
    path = tmp_path / "sound"
    path.write_bytes(data)
    return locate(path)


@pytest.mark.parametrize(
    ("tag", "bits", "format"),
    [
        (1, 8, "u8"),
        (1, 16, "s16le"),
        (1, 24, "s24le"),
        (1, 32, "s32le"),
        (3, 32, "f32le"),
        (0xFFFE, 16, "s16le"),
    ],
)
def test_samples_of_a_wave_are_found(tmp_path: Path, tag: int, bits: int, format: str) -> None:
    sound = bytes(range(240))
    file = wave(tag, bits, sound, between=chunk(b"LIST", b"odd"))
    found = located(tmp_path, file)
    assert found is not None
    assert (found.format, found.rate, found.channels) == (format, 44_100, 2)
    assert found.frames * found.frame_bytes == 240
    assert file[found.offset :] == sound


@pytest.mark.parametrize("first", [True, False], ids=["COMM-first", "SSND-first"])
@pytest.mark.parametrize("skipped", [0, 6])
def test_samples_of_an_aiff_are_found(tmp_path: Path, first: bool, skipped: int) -> None:
    sound = bytes(range(240))
    file = aiff(24, sound, first=first, skipped=skipped)
    found = located(tmp_path, file)
    assert found is not None
    assert (found.format, found.rate, found.channels, found.frames) == ("s24be", 44_100, 2, 40)
    assert file[found.offset : found.offset + 240] == sound


def test_an_aiff_of_a_mac_may_be_little_endian(tmp_path: Path) -> None:
    found = located(tmp_path, aiff(16, bytes(8), packed=b"sowt\0\0"))
    assert found is not None
    assert (found.format, found.frames) == ("s16le", 2)


@pytest.mark.parametrize(
    "data", [wave(2, 4, b""), wave(0x55, 16, bytes(8)), aiff(16, bytes(8), packed=b"ulaw\0\0")]
)
def test_packed_samples_are_none_that_can_be_read_from_anywhere(tmp_path: Path, data: bytes) -> None:
    assert located(tmp_path, data) is None


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF", b"fLaC" + bytes(100)]
)
def test_what_has_no_samples_is_none(tmp_path: Path, data: bytes) -> None:
    assert located(tmp_path, data) is None


def test_a_wave_that_ends_early_is_truncated(tmp_path: Path) -> None:
    with pytest.raises(Truncated, match="after 100 of 400 bytes"):
        located(tmp_path, wave(1, 16, bytes(100), size=400))


def test_an_aiff_that_ends_early_is_truncated(tmp_path: Path) -> None:
    with pytest.raises(Truncated):
        located(tmp_path, aiff(16, bytes(400))[:-100])


def test_a_wave_from_a_pipe_goes_to_the_end(tmp_path: Path) -> None:
    found = located(tmp_path, wave(1, 16, bytes(400), size=0xFFFFFFFF))
    assert found is not None
    assert found.frames == 100


def test_a_wave_beyond_4_gib_has_its_size_elsewhere(tmp_path: Path) -> None:
    body = wave(1, 16, bytes(400), size=0xFFFFFFFF)[12:]
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, 400, 0, 0))
    found = located(tmp_path, b"RF64\xff\xff\xff\xffWAVE" + ds64 + body + b"LIST\0\0\0\0")
    assert found is not None
    assert found.frames == 100
