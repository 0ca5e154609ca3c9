"""How a long piece of sound is cut for several encoders, so that the joined frames are as from one.

LAME's frame k depends on the samples around k × 1152 and, with its bit reservoir off, on nothing else of the
file but a short past that fades. So a segment starts and ends on whole frames, is encoded with ROLL frames of
real sound before and behind, and the frames of the roll are thrown away:

    one pass   0 1 2 3 4 5 6 7 8 9 10 11 …
    segment 1  0 1 2 3 4 5 · ·                  kept: 0 to 5, roll behind
    segment 2          · · 6 7 8 9 10 11 …      roll before, kept: from 6

They come in rounds, one segment for each core, and each round is half of what is left: an encoder that is
slower than the others takes fewer, and none waits long for the last.
"""

from __future__ import annotations

from dataclasses import dataclass

from appview.media.mp3 import FRAME_SAMPLES

ROLL = 16
LEAST_S = 30


@dataclass(frozen=True, slots=True)
class Segment:
    """Encode the samples `start` to `stop`, drop the first `skip` frames, keep `count`, or all (None)."""

    start: int
    stop: int
    skip: int
    count: int | None


def plan(samples: int, rate: int, *, workers: int) -> list[Segment]:
    """Segments for so many samples, in their order, and none shorter than LEAST_S but an only one."""
    frames = -(-samples // FRAME_SAMPLES)
    out: list[Segment] = []
    first = 0
    for count in _rounds(frames, LEAST_S * rate // FRAME_SAMPLES, workers):
        begin = max(0, first - ROLL)
        last = first + count >= frames
        stop = samples if last else min(samples, (first + count + ROLL) * FRAME_SAMPLES)
        out.append(Segment(begin * FRAME_SAMPLES, stop, first - begin, None if last else count))
        first += count
    return out


def _rounds(frames: int, least: int, workers: int) -> list[int]:
    """How many frames each segment has. The last round takes all that is left, where half of it would be
    segments shorter than twice `least`."""
    out: list[int] = []
    while (each := frames // (2 * workers)) >= 2 * least and workers > 1:
        out += [each] * workers
        frames -= each * workers
    pieces = max(1, min(workers, frames // least))
    return out + [frames * (number + 1) // pieces - frames * number // pieces for number in range(pieces)]
