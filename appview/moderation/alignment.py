"""Where two fingerprints are of the same recording: pure, and the same for the same words.

ours    ──────────────╔══════════╗───        every word of ours that is in theirs votes for
theirs       ─────────╚══════════╝──────     `theirs - slope × ours`; the line with the most votes counts,
                                             and of it the longest stretch on which few bits differ
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from appview.media.analyse import QUARTER_TONE
from appview.moderation.terms import steady

if TYPE_CHECKING:  # numpy is loaded with the first sound, not with the process
    import numpy as np
    from numpy.typing import NDArray

    from appview.moderation.terms import Words

WORD_S = 1365 / 11025 * QUARTER_TONE
"""From one word to the next, in the sound as it is."""
HEARD_S = 2.6 * QUARTER_TONE
"""Of what one word is made, from where it stands."""

_SLOPES = tuple(sorted((n / 10_000 for n in range(9_800, 10_201, 25)), key=lambda s: abs(s - 1)))
_LEAST_VOTES = 5
_MOST_REPEATS = 32  # of a word in one sound, before it says nothing of where
_WINDOW = 17  # words over which errors are averaged: two seconds
_MOST_ERRORS = 0.32 * 32  # bits of a word; of recordings that have nothing to do with each other, 43 % differ
_LEAST_WORDS = 24  # with what the last one hears, five and a half seconds


@dataclass(frozen=True, slots=True)
class Alignment:
    """Words `ours` to `ours + length` are theirs from `theirs` on, `slope` of theirs for each of ours;
    `errors`: the share of their bits that differ."""

    ours: int
    theirs: int
    length: int
    slope: float
    errors: float


def align(ours: Words, theirs: Words) -> Alignment | None:
    """The longest common stretch; None: there is none of five seconds and more."""
    line = _line(steady(ours), steady(theirs))
    if line is None:
        return None
    slope, offset = line
    found = (_stretch(ours, theirs, slope, offset + nudge) for nudge in (0, -1, 1))
    return max((each for each in found if each is not None), key=_weight, default=None)


def _weight(found: Alignment) -> float:
    """What an alignment has beyond chance."""
    return found.length * (0.5 - found.errors)


def _line(ours: Words, theirs: Words) -> tuple[float, int] | None:
    """Slope and offset with the most votes; of the same number, the slope next to 1."""
    import numpy as np

    order = np.argsort(theirs, kind="stable")
    ordered = theirs[order]
    first = np.searchsorted(ordered, ours, "left")
    count = np.searchsorted(ordered, ours, "right") - first
    count[count > _MOST_REPEATS] = 0
    i = np.repeat(np.arange(len(ours)), count)
    if len(i) < _LEAST_VOTES:
        return None
    within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    j = order[np.repeat(first, count) + within]
    shift = int(len(ours) * max(_SLOPES)) + 2
    best, line = _LEAST_VOTES - 1, None
    for slope in _SLOPES:
        votes = np.bincount(np.rint(j - i * slope).astype(np.int64) + shift)
        votes[:-1] += votes[1:]  # what falls between two
        top = int(votes.argmax())
        if votes[top] > best:
            best, line = int(votes[top]), (slope, top - shift)
    return line


def _stretch(ours: Words, theirs: Words, slope: float, offset: int) -> Alignment | None:
    """The longest stretch on this line with few errors."""
    import numpy as np

    i = np.arange(len(ours))
    j = np.rint(i * slope).astype(np.int64) + offset
    inside = (j >= 0) & (j < len(theirs))
    i, j = i[inside], j[inside]
    if len(i) < _LEAST_WORDS:
        return None
    wrong = np.bitwise_count(ours[i] ^ theirs[j]).astype(np.float64)
    width = min(_WINDOW, len(i))
    kernel = np.ones(width)
    near = np.convolve(wrong, kernel, "same") / np.convolve(np.ones(len(i)), kernel, "same")
    start, stop = _longest(near <= _MOST_ERRORS)
    if stop - start < _LEAST_WORDS:
        return None
    errors = float(wrong[start:stop].mean() / 32)
    return Alignment(int(i[start]), int(j[start]), stop - start, slope, errors)


def _longest(good: NDArray[np.bool_]) -> tuple[int, int]:
    """Start and end of the longest run."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate(([False], good, [False])).astype(np.int8)))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    top = int((stops - starts).argmax())
    return int(starts[top]), int(stops[top])
