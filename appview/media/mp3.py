"""MPEG-1 layer 3 as bytes: where frames begin, and the tag that tells players where the sound does.

The tag is a frame of silence with "Info" and LAME's fields in it. Of these a gapless player needs two:
`delay`, the samples that the encoder put in front, and `padding`, those behind. Between them is the sound.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from appview.media.crc16 import crc16
from appview.media.failures import Unreadable

FRAME_SAMPLES = 1152
RATES = (44_100, 48_000, 32_000)
BITRATE_KBPS = 320
ENCODER_DELAY = 576
# A decoder of its own has this much delay, so so much must be behind the last sample for it to come out.
DECODER_DELAY = 529
MOST_PADDING = 4095

_MOST_FRAME_BYTES = 1440
_HEADER_320 = 0x0E  # its place among layer 3's bitrates
_SIDE_INFO = {True: 17, False: 32}
_FREQUENCY = {32_000: 0, 44_100: 1, 48_000: 2}


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `start` to `stop`, which are so many whole frames."""

    start: int
    stop: int
    frames: int


@dataclass(frozen=True, slots=True)
class Sound:
    """`samples`: of each channel, which a gapless player plays."""

    rate: int
    channels: int
    samples: int

    @property
    def duration_s(self) -> float:
        return self.samples / self.rate


def told(path: Path) -> Sound:
    """What the tag of an MP3 says, an encoder's or `info_frame`'s. Raises Unreadable where it has none, or is
    not as long as that says."""
    with path.open("rb") as file:
        begin = 0
        head = file.read(10)
        if head[:3] == b"ID3":
            begin = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        file.seek(begin)
        frame = file.read(_MOST_FRAME_BYTES)
        size = file.seek(0, 2) - begin
    _length(frame[:4])
    mono = frame[3] >> 6 == 3
    xing = 4 + _SIDE_INFO[mono]
    if frame[xing : xing + 4] != b"Info" or len(frame) < xing + 144:
        raise Unreadable("the encoder wrote no tag")
    frames, bytes_told = struct.unpack_from(">II", frame, xing + 8)
    if bytes_told != size:
        raise Unreadable(f"the encoder wrote {size:,} bytes, not {bytes_told:,}")
    gap = int.from_bytes(frame[xing + 141 : xing + 144], "big")
    samples = frames * FRAME_SAMPLES - (gap >> 12) - (gap & 0xFFF)
    return Sound(RATES[frame[2] >> 2 & 3], 1 if mono else 2, samples)


def cut(data: bytes | memoryview, *, skip: int, count: int | None) -> Range:
    """The bytes of `count` frames behind the first `skip`, or of all behind them. Raises Unreadable where
    there are fewer, or anything but frames of 320 kbit/s."""
    at = start = 0
    frames = 0
    end = len(data)
    while at < end and (count is None or frames < skip + count):
        if frames == skip:
            start = at
        length = _length(data[at : at + 4])
        if at + length > end:
            raise Unreadable("the encoder's last frame is not whole")
        at += length
        frames += 1
    if frames < skip or (count is not None and frames < skip + count):
        raise Unreadable(f"the encoder wrote {frames} frames, not {skip} and {count}")
    return Range(start if frames > skip else at, at, frames - skip)


def _length(header: bytes | memoryview) -> int:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xFE != 0xFA or header[2] >> 4 != _HEADER_320:
        raise Unreadable("the encoder wrote something else than frames of 320 kbit/s")
    rate = RATES[header[2] >> 2 & 3]
    return 144_000 * BITRATE_KBPS // rate + (header[2] >> 1 & 1)


def most_bytes(duration_s: float) -> int:
    """A file of this length is not larger, its tags aside."""
    return 2 * _MOST_FRAME_BYTES + round(duration_s * BITRATE_KBPS * 125)


def padding(frames: int, samples: int) -> int:
    """How many samples of so many frames are behind the sound. Raises Unreadable where that cannot be."""
    behind = frames * FRAME_SAMPLES - ENCODER_DELAY - samples
    if not DECODER_DELAY <= behind <= MOST_PADDING:
        raise Unreadable(f"{frames} frames are not {samples} samples")
    return behind


def tag_bytes(header: bytes) -> int:
    """How long the frame with the tag is, before frames of which `header` begins one."""
    return _length(_tag_header(header))


def _tag_header(header: bytes) -> bytes:
    """Without checksum and padding byte."""
    return bytes([header[0], header[1] | 1, header[2] & 0xFD, header[3]])


def info_frame(header: bytes, *, frames: int, sound_bytes: int, samples: int, sound_crc: int) -> bytes:
    """The frame to stand before `frames` frames of sound, of which `header` begins one."""
    header = _tag_header(header)
    mono = header[3] >> 6 == 3
    size = _length(header)
    rate = RATES[header[2] >> 2 & 3]
    xing = 4 + _SIDE_INFO[mono]
    gap = ENCODER_DELAY << 12 | padding(frames, samples)
    seek = bytes(256 * percent // 100 for percent in range(100))  # every frame is as long as the others
    misc = (0 if mono else 3) << 2 | _FREQUENCY[rate] << 6
    out = bytearray(size)
    out[:4] = header
    # "57": medium quality of LAME's nine, at no VBR; 0x01: constant bitrate; 255: or more.
    struct.pack_into(
        ">4sIII100sI9sBB", out, xing, b"Info", 0xF, frames, sound_bytes + size, seek, 57, b"LAME3.100", 1, 0
    )
    out[xing + 140] = 255
    out[xing + 141 : xing + 144] = gap.to_bytes(3, "big")
    out[xing + 144] = misc
    struct.pack_into(">IH", out, xing + 148, sound_bytes + size, sound_crc)
    struct.pack_into(">H", out, xing + 154, crc16(bytes(out[: xing + 154])))
    return bytes(out)
