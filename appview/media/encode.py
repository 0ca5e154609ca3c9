"""One ffmpeg, one file in, one file out: each format that we make, without cutting anything up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from appview.media import container, mp3
from appview.media.ffmpeg import Limits, Progress, run, source
from appview.media.probe import Probe

_LEAST_FILE_BYTES = 64 << 20


class Target(StrEnum):
    """What can be made of sound."""

    MP3 = "mp3"
    WAV = "wav"
    M4A = "m4a"
    OPUS = "opus"


@dataclass(frozen=True, slots=True)
class Format:
    """`kbps` bounds its size. `arguments` choose encoder and file format."""

    mime: str
    kbps: int
    arguments: tuple[str, ...]


FORMATS = {
    Target.MP3: Format(
        "audio/mpeg",
        mp3.BITRATE_KBPS,
        ("-c:a", "libmp3lame", "-b:a", "320k", "-reservoir", "0", "-id3v2_version", "0", "-f", "mp3"),
    ),
    Target.WAV: Format("audio/wav", 6144, ("-c:a", "pcm_s16le", "-rf64", "auto", "-f", "wav")),
    Target.M4A: Format(
        "audio/mp4", 320, ("-c:a", "aac", "-b:a", "256k", "-movflags", "+faststart", "-f", "ipod")
    ),
    Target.OPUS: Format(  # the same bytes each time: what is made once more is no other blob
        container.OPUS.mime,
        320,
        ("-c:a", "libopus", "-b:a", "160k", "-vbr", "on", "-bitexact", "-f", "ogg"),
    ),
}


def limits(duration_s: float, kbps: float) -> Limits:
    """What a file of this length may cost: some thirty times what it does."""
    return Limits(
        cpu_s=60 + round(duration_s / 2),
        wall_s=120 + duration_s * 2,
        file_bytes=_LEAST_FILE_BYTES + round(duration_s * kbps * 1000 / 8 * 1.25),
    )


def shape(found: Probe, target: Target) -> list[str]:
    """Rate and channels where the target cannot have those of the source."""
    out: list[str] = []
    if found.channels > 2:  # as whole numbers: only then is a mix made quiet enough not to clip
        out += ["-af", "aformat=sample_fmts=s32:channel_layouts=stereo"]
    allowed = mp3.RATES if target is Target.MP3 else (*mp3.RATES, 88_200, 96_000)
    if target is not Target.OPUS and found.rate not in allowed:  # the encoder of Opus does it by itself
        out += ["-ar", str(nearest(found.rate))]
    return out


def nearest(rate: int) -> int:
    """The rate of a CD or a film for any other, whichever is a simple part of it."""
    return 48_000 if rate % 8000 == 0 and rate >= 48_000 else 44_100


async def encode(
    path: Path,
    found: Probe,
    target: Target,
    out: Path,
    *,
    on_progress: Progress | None = None,
    ffmpeg: str | None = None,
) -> None:
    """Write the first audio stream of `path` into `out`. `on_progress` hears what part is done. Raises
    Unreadable, LimitExceeded."""
    form = FORMATS[target]

    def heard(done_s: float) -> None:
        if on_progress is not None:
            on_progress(min(1.0, done_s / found.duration_s))

    arguments = [
        "-v", "error", *source(path, found.container.demuxer), "-map", "0:a:0", "-map_metadata", "-1",
        *shape(found, target), *form.arguments, f"file:{out}",
    ]  # fmt: skip
    await run(arguments, limits(found.duration_s, form.kbps), on_progress=heard, ffmpeg=ffmpeg)
