"""Stacked bars, as the numbers that a template draws an SVG of; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 10, 26
_MOST_TICKS = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a bar: of a kind, so many."""

    kind: str
    count: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    x: float
    middle: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    value: int
    y: float


@dataclass(frozen=True, slots=True)
class Plot:
    """All in the units of a viewBox of `width` × `height`."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    bar_width: float
    width: int = WIDTH
    left: int = _LEFT
    base: int = HEIGHT - _BOTTOM
    height: int = HEIGHT

    @property
    def right(self) -> int:
        return self.width - _RIGHT


def plot(columns: Sequence[tuple[str, Mapping[str, int]]], *, width: int = WIDTH) -> Plot:
    """A bar for each label, its counts stacked in their order, the first at the bottom."""
    most = max((sum(counts.values()) for _, counts in columns), default=0)
    step = tick_step(most)
    top = max(step, -(-most // step) * step)
    tall = HEIGHT - _TOP - _BOTTOM
    place = (width - _LEFT - _RIGHT) / max(1, len(columns))
    wide = min(place * 0.7, 48.0)
    bars: list[Bar] = []
    for number, (label, counts) in enumerate(columns):
        middle = _LEFT + place * (number + 0.5)
        pieces: list[Piece] = []
        y = float(HEIGHT - _BOTTOM)
        for kind, count in counts.items():
            height = tall * count / top
            y -= height
            if count:
                pieces.append(Piece(kind, count, round(y, 2), round(height, 2)))
        bars.append(Bar(label, round(middle - wide / 2, 2), round(middle, 2), tuple(pieces)))
    ticks = [
        Tick(value, round(HEIGHT - _BOTTOM - tall * value / top, 2)) for value in range(0, top + 1, step)
    ]
    return Plot(tuple(bars), tuple(ticks), round(wide, 2), width)


def tick_step(most: int) -> int:
    """1, 2 or 5 times a power of ten, so that few lines are enough."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if most <= factor * power * _MOST_TICKS:
                return factor * power
        power *= 10
