from __future__ import annotations

import struct
from pathlib import Path

import pytest

from appview.media.crc16 import crc16
from appview.media.failures import Unreadable
from appview.media.id3 import Tags, id3
from appview.media.mp3 import ENCODER_DELAY, FRAME_SAMPLES, Range, cut, info_frame, padding, told

STEREO = b"\xff\xfb\xe0\x64"
PADDED = b"\xff\xfb\xe2\x64"
MONO = b"\xff\xfb\xe0\xc4"


def frame(header: bytes = STEREO) -> bytes:
    return header + bytes(1044 + (header[2] >> 1 & 1) - 4)


def test_frames_are_cut_at_their_own_lengths() -> None:
    data = frame() + frame(PADDED) + frame() + frame(PADDED)
    assert cut(data, skip=0, count=None) == Range(0, len(data), 4)
    assert cut(data, skip=1, count=2) == Range(1044, 1044 + 1045 + 1044, 2)
    assert cut(data, skip=3, count=None) == Range(1044 + 1045 + 1044, len(data), 1)


@pytest.mark.parametrize(
    ("data", "skip", "count"),
    [
        (frame(), 0, 2),
        (frame(), 2, None),
        (frame() + frame()[:-1], 0, 2),
        (frame() + b"junk", 0, None),
        (b"ID3" + frame(), 0, None),
        (b"\xff\xfb\x90\x64" + bytes(413), 0, None),
    ],
    ids=["too-few", "fewer-than-skipped", "half", "junk", "a-tag", "128-kbit"],
)
def test_what_is_not_whole_frames_is_refused(data: bytes, skip: int, count: int | None) -> None:
    with pytest.raises(Unreadable):
        cut(data, skip=skip, count=count)


@pytest.mark.parametrize(("header", "at", "size"), [(STEREO, 36, 1044), (PADDED, 36, 1044), (MONO, 21, 1044)])
def test_the_tag_tells_where_the_sound_is(header: bytes, at: int, size: int) -> None:
    samples = 100 * FRAME_SAMPLES - ENCODER_DELAY - 700
    tag = info_frame(header, frames=100, sound_bytes=104_400, samples=samples, sound_crc=0xBEEF)
    assert len(tag) == size
    assert tag[at : at + 4] == b"Info"
    flags, frames, total = struct.unpack_from(">III", tag, at + 4)
    assert (flags, frames, total) == (15, 100, 104_400 + size)
    seek = tag[at + 16 : at + 116]
    assert (seek[0], list(seek)) == (0, sorted(seek))
    assert tag[at + 120 : at + 124] == b"LAME"
    gap = int.from_bytes(tag[at + 141 : at + 144], "big")
    assert (gap >> 12, gap & 0xFFF) == (ENCODER_DELAY, 700)
    length, sound, own = struct.unpack_from(">IHH", tag, at + 148)
    assert (length, sound, own) == (104_400 + size, 0xBEEF, crc16(tag[: at + 154]))


@pytest.mark.parametrize(("header", "channels"), [(STEREO, 2), (MONO, 1)])
@pytest.mark.parametrize("head", [b"", id3(Tags("Ein Stück", cover=bytes(70_000)))], ids=["bare", "tagged"])
def test_a_file_tells_what_its_tag_was_made_of(
    tmp_path: Path, header: bytes, channels: int, head: bytes
) -> None:
    path = tmp_path / "it.mp3"
    samples = 10 * FRAME_SAMPLES - ENCODER_DELAY - 700
    tag = info_frame(header, frames=10, sound_bytes=10_440, samples=samples, sound_crc=0)
    path.write_bytes(head + tag + frame(header) * 10)
    sound = told(path)
    assert (sound.rate, sound.channels, sound.samples) == (44_100, channels, samples)
    assert sound.duration_s == samples / 44_100


@pytest.mark.parametrize("data", [b"", frame() * 3, b"fLaC" + bytes(3000)], ids=["nothing", "no-tag", "flac"])
def test_a_file_without_a_tag_tells_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "it.mp3"
    path.write_bytes(data)
    with pytest.raises(Unreadable):
        told(path)


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "it.mp3"
    samples = 10 * FRAME_SAMPLES - ENCODER_DELAY - 700
    tag = info_frame(STEREO, frames=10, sound_bytes=10_440, samples=samples, sound_crc=0)
    path.write_bytes(tag + frame() * 9)
    with pytest.raises(Unreadable, match="bytes"):
        told(path)


def test_frames_that_cannot_hold_the_sound_are_refused() -> None:
    assert padding(10, 10 * FRAME_SAMPLES - ENCODER_DELAY - 529) == 529
    for behind in (528, -1, 4096):
        with pytest.raises(Unreadable):
            padding(10, 10 * FRAME_SAMPLES - ENCODER_DELAY - behind)


def test_a_tag_without_anything_to_tell_is_none() -> None:
    assert id3(Tags()) == b""


def test_an_id3_tag_says_its_size_in_seven_bits_a_byte() -> None:
    tag = id3(Tags(title="x" * 1000, cover=bytes(70_000), cover_mime="image/png"))
    assert tag[:6] == b"ID3\x03\0\0"
    assert max(tag[6:10]) < 128
    assert tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9] == len(tag) - 10
