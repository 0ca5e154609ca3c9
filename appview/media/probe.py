"""What an audio file holds, found out by reading all of it once without decoding; of an AIFF, its head alone.

There is no ffprobe in the wheel, and what ffmpeg prints for people is no interface. Its `framecrc` muxer is:
with `-c copy` its head names codec, rate and layout, and each packet is a line with its time, so a file that
breaks off in the middle is known from the time that its last packet reaches.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from appview.media import container, pcm
from appview.media.container import Container
from appview.media.failures import NotAudio, TooLong, Truncated, Unreadable
from appview.media.ffmpeg import Limits, run, source
from appview.media.pcm import Pcm

_LIMITS = Limits(cpu_s=120, wall_s=300)
_DECLARED = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d\d)", re.MULTILINE)
_HEAD = re.compile(r"#(\w+) 0: (.+)")
_NO_AUDIO = ("matches no streams", "does not contain any stream")
_OGG_PAGE_BYTES = 65_536
_MOST_RATE = 768_000
_MOST_CHANNELS = 64
# Codecs that every browser plays where they come in these containers.
_PLAYABLE = {("mp3", "mp3"), ("mov", "aac"), ("wav", "pcm_s16le"), ("wav", "pcm_s24le"), ("flac", "flac")}


@dataclass(frozen=True, slots=True)
class Probe:
    """`codec` in ffmpeg's words. `lossless`: no information is lost by its codec."""

    container: Container
    codec: str
    rate: int
    layout: str
    duration_s: float

    @property
    def channels(self) -> int:
        return channels_of(self.layout)

    @property
    def lossless(self) -> bool:
        return self.codec.startswith("pcm_") or self.codec in ("flac", "alac", "wavpack", "tta")

    @property
    def playable(self) -> bool:
        """Whether every browser plays it as it is."""
        return (self.container.demuxer, self.codec) in _PLAYABLE


async def probe(path: Path, *, max_duration_s: float | None = None, ffmpeg: str | None = None) -> Probe:
    """The first audio stream of a file. Raises NotAudio, Truncated, Unreadable, TooLong, LimitExceeded."""
    head = await asyncio.to_thread(_head, path)
    kind = container.sniff(head)
    if kind in (container.WAV, container.AIFF):
        # ffmpeg takes what is there for all that should be.
        plain = await asyncio.to_thread(pcm.locate, path)
        if plain is not None and kind is container.AIFF and plain.channels <= 2:
            return _of_plain(kind, plain, max_duration_s)
    elif kind is container.OGG and not await asyncio.to_thread(_last_page_is_whole, path):
        raise Truncated("the file ends in the middle of a page")
    arguments = [*source(path, kind.demuxer), "-map", "0:a:0", "-c", "copy", "-f", "framecrc", "pipe:1"]
    packets = _Packets(max_duration_s)
    try:
        log = await run(arguments, _LIMITS, feed=packets.feed, ffmpeg=ffmpeg)
    except Unreadable as error:
        if any(words in error.log for words in _NO_AUDIO):
            raise NotAudio(f"this {kind.name} file has no sound in it") from error
        if "moov atom not found" in error.log:
            raise Truncated("the file is not whole: its index is missing") from error
        raise
    found = packets.facts
    if not found.get("codec_id") or packets.duration_s <= 0:
        raise NotAudio(f"this {kind.name} file has no sound in it")
    declared = _DECLARED.search(log)
    if declared is not None:
        hours, minutes, seconds = declared.groups()
        whole_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        if packets.duration_s < 0.98 * whole_s - 0.5:
            raise Truncated(f"the file ends after {packets.duration_s:.0f} of {whole_s:.0f} seconds")
    layout = found.get("channel_layout_name") or found.get("channel_layout", "")
    rate = int(found.get("sample_rate", "0"))
    if not 0 < rate <= _MOST_RATE or channels_of(layout) > _MOST_CHANNELS:
        raise NotAudio(f"no sound has {rate:,} samples a second of {layout}")
    return Probe(kind, found["codec_id"], rate, layout, packets.duration_s)


def _of_plain(kind: Container, found: Pcm, max_duration_s: float | None) -> Probe:
    """Plain samples need not be read to know how long they are, and an hour of them is a gigabyte."""
    if not 0 < found.rate <= _MOST_RATE or not found.frames:
        raise NotAudio(f"this {kind.name} file has no sound in it")
    if max_duration_s is not None and found.duration_s > max_duration_s:
        raise _too_long(max_duration_s)
    layout = "mono" if found.channels == 1 else "stereo"
    return Probe(kind, f"pcm_{found.format}", found.rate, layout, found.duration_s)


def _too_long(max_duration_s: float) -> TooLong:
    return TooLong(f"it is longer than {max_duration_s / 60:.0f} minutes")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(container.HEAD_BYTES)


def _last_page_is_whole(path: Path) -> bool:
    """Of an Ogg file: ffmpeg takes its last whole page for the end."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        begin = max(0, end - _OGG_PAGE_BYTES)
        file.seek(begin)
        tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return False
    lengths = tail[at + 27 : at + 27 + tail[at + 26]]
    return len(lengths) == tail[at + 26] and at + 27 + len(lengths) + sum(lengths) <= len(tail)


def channels_of(layout: str) -> int:
    """How many channels a layout of this name has: `stereo`, `5.1(side)`, `12 channels (…)`."""
    if (count := re.match(r"(\d+) channels", layout)) is not None:
        return int(count[1])
    if (parts := re.match(r"\d+(\.\d+)+", layout)) is not None:
        return sum(map(int, parts[0].split(".")))
    return {"mono": 1, "stereo": 2, "downmix": 2}.get(layout, 4)


class _Packets:
    """Reads the lines of `framecrc`: facts from the head, and how far the packets reach."""

    def __init__(self, max_duration_s: float | None) -> None:
        self._max_duration_s = max_duration_s
        self.facts: dict[str, str] = {}
        self.duration_s = 0.0
        self._rest = b""
        self._tick_s = 1.0

    def feed(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        last = None
        for line in lines:
            if line[:1] == b"#":
                self._fact(line.decode(errors="replace"))
            elif line:
                last = line
        if last is not None:
            _, at, _, duration, *_ = last.split(b",")
            self.duration_s = (int(at) + int(duration)) * self._tick_s
            if self._max_duration_s is not None and self.duration_s > self._max_duration_s:
                raise _too_long(self._max_duration_s)

    def _fact(self, line: str) -> None:
        match = _HEAD.match(line)
        if match is None:
            return
        name, value = match.groups()
        if name == "tb":
            numerator, denominator = map(int, value.split("/"))
            self._tick_s = numerator / denominator
        elif name == "codec_id":
            value = value.split()[-1]
        self.facts[name] = value.strip()
