"""A long piece of sound into one MP3 on all cores, without a gap or a click, as `segments` explains.

    samples in a file ─▶ plan ─▶ a lane of ffmpegs for each core, segment by segment ─▶ Joiner

Samples come from the source itself where it is a plain WAV or AIFF; anything else is decoded into a file.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import replace
from pathlib import Path

from appview.media import cores, mp3, pcm, segments
from appview.media.encode import Target, limits, nearest, shape
from appview.media.ffmpeg import Progress, run, source
from appview.media.joiner import Joiner
from appview.media.pcm import Pcm
from appview.media.probe import Probe


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
    on_progress: Progress | None = None,
    ffmpeg: str | None = None,
) -> int:
    """Write `head` and an MP3 of 320 kbit/s with its LAME tag into `out`; returns in how many pieces it was
    made. Raises Unreadable, LimitExceeded: then one piece may still work."""
    lanes = _Lanes(sound, workers, scratch, on_progress, ffmpeg)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_join(sound, lanes, out, head))
            for core in itertools.islice(itertools.cycle(cores.usable() or [None]), workers):
                group.create_task(lanes.run(core))
    except ExceptionGroup as failed:  # the others were cancelled for the first
        raise failed.exceptions[0] from None
    return len(lanes.plan)


async def _join(sound: Pcm, lanes: _Lanes, out: Path, head: bytes) -> None:
    with Joiner(out, head, sound) as joiner:
        for segment, part in zip(lanes.plan, lanes.parts, strict=True):
            await asyncio.to_thread(joiner.add, segment, await part)
        joiner.finish()


class _Lanes:
    """Encoders side by side, each at the next segment that nobody has. `parts`: one for each of `plan`, as
    they come."""

    def __init__(
        self, sound: Pcm, workers: int, scratch: Path, on_progress: Progress | None, ffmpeg: str | None
    ) -> None:
        loop = asyncio.get_running_loop()
        self.plan = segments.plan(sound.frames, sound.rate, workers=workers)
        self.parts: list[asyncio.Future[Path]] = [loop.create_future() for _ in self.plan]
        self._todo = iter(range(len(self.plan)))
        self._sound = sound
        self._scratch = scratch
        self._on_progress = on_progress
        self._ffmpeg = ffmpeg
        self._done_s = [0.0] * len(self.plan)
        self._running: set[int] = set()

    async def run(self, core: int | None) -> None:
        """One lane, which keeps to a core until there is nothing left to begin."""
        for number in self._todo:
            part = self._scratch / f"{number:04d}.mp3"
            await self._encode(number, part, core)
            self.parts[number].set_result(part)
        if core is not None:
            for pid in self._running:
                cores.release(pid)

    async def _encode(self, number: int, part: Path, core: int | None) -> None:
        sound, segment = self._sound, self.plan[number]
        raw = ("-ar", str(sound.rate), "-ac", str(sound.channels))
        begin = sound.offset + segment.start * sound.frame_bytes
        count = segment.stop - segment.start
        arguments = [
            "-v", "error", *source(sound.path, sound.format, *raw, "-skip_initial_bytes", str(begin)),
            "-af", f"atrim=end_sample={count}", "-c:a", "libmp3lame", "-b:a", f"{mp3.BITRATE_KBPS}k",
            "-reservoir", "0", "-write_xing", "0", "-id3v2_version", "0", "-f", "mp3", f"file:{part}",
        ]  # fmt: skip

        def heard(seconds: float) -> None:
            self._done_s[number] = seconds
            if self._on_progress is not None:
                self._on_progress(min(1.0, sum(self._done_s) / sound.duration_s))

        process: list[int] = []

        def started(pid: int) -> None:
            process.append(pid)
            self._running.add(pid)

        allowed = limits(count / sound.rate, mp3.BITRATE_KBPS)
        try:
            await run(arguments, allowed, on_progress=heard, on_start=started, core=core, ffmpeg=self._ffmpeg)
        finally:
            self._running.difference_update(process)
