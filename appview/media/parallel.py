"""A long piece of sound into one MP3 on all cores, without a gap or a click, as `segments` explains.

    samples in a file ─▶ plan ─▶ one ffmpeg for each segment ─▶ cut off the rolls ─▶ tag, then the frames

Samples come from the source itself where it is a plain WAV or AIFF; anything else is decoded into a file.
"""

from __future__ import annotations

import asyncio
import mmap
import os
from dataclasses import replace
from pathlib import Path

from appview.media import mp3, pcm, segments
from appview.media.crc16 import crc16
from appview.media.encode import Target, limits, nearest, shape
from appview.media.failures import Unreadable
from appview.media.ffmpeg import Progress, run, source
from appview.media.mp3 import Range
from appview.media.pcm import Pcm
from appview.media.probe import Probe
from appview.media.segments import Segment

_PIECE = 8 << 20


async def samples(path: Path, found: Probe, scratch: Path, ffmpeg: str | None = None) -> Pcm:
    """The sound as samples that can be read from anywhere on: in the file itself, or in `scratch`."""
    there = await asyncio.to_thread(pcm.locate, path)
    if there is not None and there.channels <= 2 and there.rate in mp3.RATES:
        return there
    channels = min(2, found.channels)
    rate = found.rate if found.rate in mp3.RATES else nearest(found.rate)
    arguments = [
        "-v", "error", *source(path, found.container.demuxer), "-map", "0:a:0",
        *shape(found, Target.MP3), "-c:a", "pcm_f32le", "-f", "f32le", f"file:{scratch}",
    ]  # fmt: skip
    await run(arguments, limits(found.duration_s, rate * channels * 32 / 1000), ffmpeg=ffmpeg)
    made = Pcm(scratch, 0, "f32le", rate, channels, 0)
    size = await asyncio.to_thread(os.path.getsize, scratch)
    return replace(made, frames=size // made.frame_bytes)


async def encode(
    sound: Pcm,
    out: Path,
    scratch: Path,
    *,
    head: bytes = b"",
    workers: int,
    pieces: int | None = None,
    on_progress: Progress | None = None,
    ffmpeg: str | None = None,
) -> int:
    """Write `head` and an MP3 of 320 kbit/s with its LAME tag into `out`; returns in how many pieces it was
    made. Raises Unreadable, LimitExceeded: then one piece may still work."""
    plan = segments.plan(sound.frames, sound.rate, pieces=2 * workers if pieces is None else pieces)
    turns = asyncio.Semaphore(workers)
    done = [0.0] * len(plan)

    async def one(number: int, segment: Segment) -> Path:
        part = scratch / f"{number:04d}.mp3"

        def heard(seconds: float) -> None:
            done[number] = seconds
            if on_progress is not None:
                on_progress(min(1.0, sum(done) / sound.duration_s))

        async with turns:
            await _encode_one(sound, segment, part, heard, ffmpeg)
        return part

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number, segment)) for number, segment in enumerate(plan)]
    except ExceptionGroup as failed:  # the others were cancelled for the first
        raise failed.exceptions[0] from None
    parts = [task.result() for task in tasks]
    await asyncio.to_thread(_join, sound, list(zip(plan, parts, strict=True)), out, head)
    return len(plan)


async def _encode_one(sound: Pcm, segment: Segment, part: Path, heard: Progress, ffmpeg: str | None) -> None:
    raw = ("-ar", str(sound.rate), "-ac", str(sound.channels))
    begin = sound.offset + segment.start * sound.frame_bytes
    count = segment.stop - segment.start
    arguments = [
        "-v", "error", *source(sound.path, sound.format, *raw, "-skip_initial_bytes", str(begin)),
        "-af", f"atrim=end_sample={count}", "-c:a", "libmp3lame", "-b:a", f"{mp3.BITRATE_KBPS}k",
        "-reservoir", "0", "-write_xing", "0", "-id3v2_version", "0", "-f", "mp3", f"file:{part}",
    ]  # fmt: skip
    allowed = limits(count / sound.rate, mp3.BITRATE_KBPS)
    await run(arguments, allowed, on_progress=heard, ffmpeg=ffmpeg)


def _join(sound: Pcm, parts: list[tuple[Segment, Path]], out: Path, head: bytes) -> None:
    """Tag and frames into `out`; the parts go."""
    cuts: list[tuple[Path, Range]] = []
    first = b""
    crc = 0
    for segment, path in parts:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as view,
        ):
            kept = mp3.cut(view, skip=segment.skip, count=segment.count)
            first = first or bytes(view[kept.start : kept.start + 4])
            for at in range(kept.start, kept.stop, _PIECE):
                with view[at : min(at + _PIECE, kept.stop)] as piece:
                    crc = crc16(piece, crc)
        cuts.append((path, kept))
    frames = sum(kept.frames for _, kept in cuts)
    size = sum(kept.stop - kept.start for _, kept in cuts)
    if not first:
        raise Unreadable("the encoder wrote nothing")
    tag = mp3.info_frame(first, frames=frames, sound_bytes=size, samples=sound.frames, sound_crc=crc)
    with out.open("wb") as target:
        target.write(head + tag)
        target.flush()
        for path, kept in cuts:
            with path.open("rb") as file:
                at = kept.start
                while at < kept.stop:
                    at += os.sendfile(target.fileno(), file.fileno(), at, kept.stop - at)
            path.unlink()
