"""(k) A long AIFF to an MP3 of 320 kbit/s with tags: all cores of ours beside one ffmpeg on the same cores.

The other side is what people type: `ffmpeg -i in.aiff -c:a libmp3lame -b:a 320k out.mp3`. Both at the same
quality of LAME. Compared is time by the clock, which is what somebody waits.

Gate: what is decoded from ours is as long as the sound, to the sample, and as near to it as what is decoded
from a single pass, over all and around every join.
"""

from __future__ import annotations

import resource
import subprocess
import time
from pathlib import Path

import numpy as np

from appview.media import cores, segments
from appview.media.encode import Target as Format
from appview.media.ffmpeg import find
from appview.media.id3 import Tags
from appview.media.mp3 import FRAME_SAMPLES
from appview.media.pcm import locate
from appview.media.probe import probe
from appview.media.transcode import transcode
from tests.bench.measure import Finding, Goal, Sample, Target, WrongAnswer, contest, interleave, require_equal
from tests.bench.options import Options
from tests.music import Samples, aiff, decoded, ffmpeg, music

RATIO = 1.85
HEADLINE_S = 85 * 60
RATE = 44_100
TAGS = Tags("A long evening", "Somebody", "All of it")
_BLOCK_S = 30


async def run(options: Options) -> Finding:
    folder = options.scratch
    length_s = options.size(5 * 60, 2 * 60 + 10)
    source = write(folder / "in.aiff", length_s)
    await check(source, folder)
    pairs = await interleave(options.size(3, 3), lambda: ours(source, folder), lambda: single(source, folder))
    targets = [Target("a single ffmpeg's speed", tuple(pair.by_wall for pair in pairs), RATIO)]
    goals: tuple[Goal, ...] = ()
    if not options.quick:
        source = write(folder / "in.aiff", HEADLINE_S)
        mine, other = await ours(source, folder), await single(source, folder)
        targets.append(
            Target("a single ffmpeg's speed, for 85 minutes", (mine.per_second / other.per_second,), RATIO)
        )
        await check_length(folder / "ours.mp3", HEADLINE_S * RATE)
        goals = (
            Goal(f"85 minutes, {source.stat().st_size / 1e6:.0f} MB", mine.wall_s, 41, "s", at_most=True),
            Goal("of it with a single ffmpeg", other.wall_s, 75, "s", at_most=True),
        )
    return Finding(
        name="transcode",
        title=f"{length_s / 60:.0f} minutes of AIFF to MP3 on {cores.count()} cores",
        unit="second of sound",
        contestants=contest("plyr", "one ffmpeg", pairs),
        targets=tuple(targets),
        goals=goals,
        gates=("as long as the sound to the sample; as near to it as one pass, at every join, too",),
    )


def write(path: Path, length_s: int) -> Path:
    """Sound of this length: blocks of different music, one after the other."""
    blocks = [music(_BLOCK_S, seed=seed) for seed in range(4)]
    count = -(-length_s // _BLOCK_S)
    samples = np.concatenate([blocks[number % 4] for number in range(count)])[: length_s * RATE]
    return aiff(path, samples)


async def ours(source: Path, folder: Path) -> Sample:
    """Probe and transcode, as a job does it."""
    before, started = _children_s(), time.perf_counter()
    found = await probe(source)
    done = await transcode(source, found, Format.MP3, folder / "ours.mp3", tags=TAGS)
    wall_s = time.perf_counter() - started
    if done.fell_back is not None or (cores.count() > 1 and done.pieces < 2):
        raise WrongAnswer(f"made in {done.pieces} pieces: {done.fell_back}")
    return Sample(round(found.duration_s), wall_s, _children_s() - before, _peak())


async def single(source: Path, folder: Path) -> Sample:
    before, started = _children_s(), time.perf_counter()
    out = folder / "single.mp3"
    command = [
        find(),
        "-v",
        "error",
        "-nostdin",
        "-y",
        "-i",
        source,
        "-c:a",
        "libmp3lame",
        "-b:a",
        "320k",
        out,
    ]
    subprocess.run(command, check=True)
    pcm = locate(source)
    assert pcm is not None
    return Sample(round(pcm.duration_s), time.perf_counter() - started, _children_s() - before, _peak())


async def check(source: Path, folder: Path) -> None:
    """The gate. Raises WrongAnswer."""
    pcm = locate(source)
    assert pcm is not None
    raw = np.fromfile(source, dtype=">i2", offset=pcm.offset).reshape(-1, 2)
    sound = raw.astype(np.float32) / np.float32(32768)
    await ours(source, folder)
    one = folder / "one.mp3"
    await ffmpeg("-i", source, "-c:a", "libmp3lame", "-b:a", "320k", "-reservoir", "0", one)
    heard, expected = await decoded(folder / "ours.mp3"), await decoded(one)
    require_equal("samples", (len(heard), len(expected)), (len(sound), len(sound)))
    _near(sound, heard, expected, "all of it", 0.01)
    for segment in segments.plan(len(sound), RATE, workers=cores.count())[1:]:
        at = segment.start + segment.skip * FRAME_SAMPLES
        around = slice(at - 2 * FRAME_SAMPLES, at + 2 * FRAME_SAMPLES)
        _near(sound[around], heard[around], expected[around], f"the join at {at}", 0.1)


def _near(sound: Samples, heard: Samples, expected: Samples, what: str, most_db: float) -> None:
    mine, other = (
        10 * np.log10(np.mean(sound**2) / np.mean((each - sound) ** 2)) for each in (heard, expected)
    )
    if mine < other - most_db:
        raise WrongAnswer(f"{what} is {mine:.2f} dB above its error, {other:.2f} dB in one pass")


async def check_length(path: Path, samples: int) -> None:
    counted = await ffmpeg("-i", path, "-map", "0:a:0", "-f", "framecrc", "-c:a", "pcm_s16le", "pipe:1")
    last = counted.strip().splitlines()[-1].split(b",")
    require_equal("samples of 85 minutes", int(last[1]) + int(last[3]), samples)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
