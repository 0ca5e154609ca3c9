"""What a sound is like: loudness, shape, fingerprint and exact length, all from one decoding.

ffmpeg ─┬─▶ ebur128: integrated loudness, range, sample peak
        ├─▶ chromaprint, a quarter tone higher: 32 bits for each eighth of a second
        └─▶ samples, of which the loudest of each stretch is kept
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from appview.media.encode import limits
from appview.media.failures import Unreadable
from appview.media.ffmpeg import Progress, run, source
from appview.media.probe import Probe

if TYPE_CHECKING:  # numpy is loaded with the first sound, not with the process
    import numpy as np
    from numpy.typing import NDArray

PEAKS = 1000
# Chromaprint parts the octave at the notes of A = 440 Hz, so that one that is a little off falls on either
# side. A quarter tone higher they are in the middle: sound that was sped by a percent is much the same.
QUARTER_TONE = 2 ** (1 / 24)
CHROMAPRINT = ("-f", "chromaprint", "-fp_format", "raw")
_STRETCH = 1024
_LOUD = "ebur128=framelog=verbose:peak=sample"
_FINGERPRINT_KBPS = 8
_LOUDNESS = re.compile(r"^\s+I:\s+(-?[\d.]+|-?inf|nan) LUFS", re.MULTILINE)
_RANGE = re.compile(r"^\s+LRA:\s+([\d.]+|nan) LU", re.MULTILINE)
_PEAK = re.compile(r"^\s+Peak:\s+(-?[\d.]+|-?inf) dBFS", re.MULTILINE)
# What the filter says of silence, and of what is too short for it.
_SILENCE_LUFS = -70.0


@dataclass(frozen=True, slots=True)
class Analysis:
    """`loudness_lufs`, `range_lu`: after EBU R128. `peak_dbfs`: the loudest sample; None: all are silent.

    `peaks`: the loudest sample of each of PEAKS equal stretches, 0 to 255, fewer for a very short sound.
    `fingerprint`: Chromaprint's numbers, 32 bits each, the lowest byte first, of it played QUARTER_TONE
    times as fast; empty for less than 3 s.
    """

    duration_s: float
    loudness_lufs: float
    range_lu: float
    peak_dbfs: float | None
    peaks: bytes
    fingerprint: bytes


async def analyse(
    path: Path, found: Probe, *, on_progress: Progress | None = None, ffmpeg: str | None = None
) -> Analysis:
    """Of the first audio stream. Raises Unreadable, LimitExceeded."""
    channels = min(2, found.channels)
    shape = _Shape(channels)
    mixed = "aformat=channel_layouts=" + ("mono" if channels == 1 else "stereo")

    def heard(done_s: float) -> None:
        if on_progress is not None:
            on_progress(min(1.0, done_s / found.duration_s))

    with tempfile.TemporaryDirectory(prefix="analyse-") as folder:
        prints = Path(folder, "fingerprint")
        arguments = [
            "-v", "info", *source(path, found.container.demuxer), "-filter_complex",
            f"[0:a:0]asplit=3[a][b][c];[a]{_LOUD}[loud];[b]{mixed}[shape];[c]{higher(found.rate)}[print]",
            "-map", "[loud]", "-f", "null", "-",
            "-map", "[shape]", "-ar", str(found.rate), "-c:a", "pcm_s16le", "-f", "s16le", "pipe:1",
            "-map", "[print]", *CHROMAPRINT, f"file:{prints}",
        ]  # fmt: skip
        allowed = limits(found.duration_s, _FINGERPRINT_KBPS)
        log = await run(arguments, allowed, feed=shape.feed, on_progress=heard, ffmpeg=ffmpeg)
        fingerprint = await asyncio.to_thread(prints.read_bytes)
    return Analysis(
        shape.frames / found.rate,
        max(_SILENCE_LUFS, _number(_LOUDNESS, log, _SILENCE_LUFS)),
        _number(_RANGE, log, 0.0),
        _peak(log),
        shape.peaks(PEAKS),
        fingerprint,
    )


def higher(rate: int, speed: float = 1.0) -> str:
    """What sound of `rate` goes through before Chromaprint hears it, played at `speed`, pitch and all."""
    return f"aresample={rate},asetrate={round(rate * QUARTER_TONE * speed)}"


def _number(pattern: re.Pattern[str], log: str, otherwise: float) -> float:
    """The number in the last summary. Raises Unreadable where there is none."""
    told = pattern.findall(log)
    if not told:
        raise Unreadable("ffmpeg told no loudness", log)
    return otherwise if told[-1].lstrip("-") in ("inf", "nan") else float(told[-1])


def _peak(log: str) -> float | None:
    value = _number(_PEAK, log, float("-inf"))
    return None if value == float("-inf") else value


class _Shape:
    """Samples of 16 bits on their way by; of each stretch of frames the loudest is kept."""

    def __init__(self, channels: int) -> None:
        self._frame_bytes = 2 * channels
        self._stretch_bytes = self._frame_bytes * _STRETCH
        self._loudest: list[NDArray[np.uint16]] = []
        self._rest = b""
        self._bytes = 0

    @property
    def frames(self) -> int:
        return self._bytes // self._frame_bytes

    def feed(self, chunk: bytes) -> None:
        self._bytes += len(chunk)
        data = self._rest + chunk
        whole = len(data) // self._stretch_bytes * self._stretch_bytes
        self._rest = data[whole:]
        if whole:
            self._loudest.append(_loudest(data[:whole], self._stretch_bytes // 2))

    def peaks(self, most: int) -> bytes:
        """The loudest of each of `most` parts, 0 to 255."""
        import numpy as np

        rest = self._rest[: len(self._rest) // 2 * 2]
        parts = [*self._loudest, *([_loudest(rest, len(rest) // 2)] if rest else [])]
        if not parts:
            return b""
        loudest = np.concatenate(parts)
        count = min(most, len(loudest))
        starts = np.arange(count) * len(loudest) // count
        return (
            (np.maximum.reduceat(loudest, starts).astype(np.uint32) * 255 // 32768).astype(np.uint8).tobytes()
        )


def _loudest(data: bytes, width: int) -> NDArray[np.uint16]:
    import numpy as np

    rows = np.frombuffer(data, dtype="<i2").reshape(-1, width)
    # Not abs(): the smallest number has no positive one beside it.
    return np.maximum(rows.max(axis=1).astype(np.int32), -rows.min(axis=1).astype(np.int32)).astype(np.uint16)
