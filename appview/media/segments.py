"""How a long piece of sound is cut for several encoders, so that the joined frames are as from one.

LAME's frame k depends on the samples around k × 1152 and, with its bit reservoir off, on nothing else of the
file but a short past that fades. So a segment starts and ends on whole frames, is encoded with ROLL frames of
real sound before and behind, and the frames of the roll are thrown away:

    one pass   0 1 2 3 4 5 6 7 8 9 10 11 …
    segment 1  0 1 2 3 4 5 · ·                  kept: 0 to 5, roll behind
    segment 2          · · 6 7 8 9 10 11 …      roll before, kept: from 6
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


def plan(samples: int, rate: int, *, pieces: int) -> list[Segment]:
    """Segments for so many samples, at most `pieces`, and none shorter than LEAST_S but an only one."""
    frames = -(-samples // FRAME_SAMPLES)
    pieces = max(1, min(pieces, samples // (LEAST_S * rate)))
    each = -(-frames // pieces)
    out: list[Segment] = []
    for first in range(0, frames, each):
        begin = max(0, first - ROLL)
        last = first + each >= frames
        stop = samples if last else min(samples, (first + each + ROLL) * FRAME_SAMPLES)
        out.append(Segment(begin * FRAME_SAMPLES, stop, first - begin, None if last else each))
    return out
