"""Any sound that ffmpeg reads into an MP3 of 320 kbit/s with its tags, which every browser plays; and others.

Long ones go to all cores (`parallel`); short ones, and those that fail there, through one ffmpeg.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from appview.media import cores, parallel, segments
from appview.media.encode import FORMATS, Target, encode
from appview.media.failures import Unreadable
from appview.media.ffmpeg import Progress
from appview.media.id3 import NO_TAGS, Tags, id3
from appview.media.probe import Probe


@dataclass(frozen=True, slots=True)
class Transcoded:
    """`pieces`: how many encoders made it. `fell_back`: why it had to be one, where several were meant."""

    mime: str
    pieces: int = 1
    fell_back: str | None = None


async def transcode(
    path: Path,
    found: Probe,
    target: Target,
    out: Path,
    *,
    tags: Tags = NO_TAGS,
    workers: int | None = None,
    on_progress: Progress | None = None,
    ffmpeg: str | None = None,
) -> Transcoded:
    """Write the first audio stream of `path`, of which `found` tells, into `out`.

    It works in a folder of its own beside `out`, which needs room for eight bytes a sample. Tags go into an
    MP3. `on_progress` hears what part is done. Raises Unreadable, LimitExceeded; a cancelled task leaves no
    process and no file but `out`.
    """
    mime = FORMATS[target].mime
    with tempfile.TemporaryDirectory(prefix="transcode-", dir=out.parent) as folder:
        scratch = Path(folder)
        if target is not Target.MP3:
            await encode(path, found, target, out, on_progress=on_progress, ffmpeg=ffmpeg)
            return Transcoded(mime)
        head = id3(tags)
        workers = cores.count() if workers is None else workers
        reason = None
        if workers > 1 and found.duration_s >= 2 * segments.LEAST_S:
            try:
                sound = await parallel.samples(path, found, scratch / "samples", ffmpeg)
                pieces = await parallel.encode(
                    sound, out, scratch, head=head, workers=workers, on_progress=on_progress, ffmpeg=ffmpeg
                )
                return Transcoded(mime, pieces)
            except Unreadable as error:
                reason = str(error)
        whole = scratch / "whole.mp3"
        await encode(path, found, target, whole, on_progress=on_progress, ffmpeg=ffmpeg)
        await asyncio.to_thread(_put_behind, head, whole, out)
        return Transcoded(mime, 1, reason)


def _put_behind(head: bytes, file: Path, out: Path) -> None:
    with out.open("wb") as target, file.open("rb") as sound:
        target.write(head)
        shutil.copyfileobj(sound, target, 1 << 20)
