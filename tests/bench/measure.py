"""What a benchmark found: timed runs in interleaved pairs, their ratio, and whether that is enough.

Only ratios are judged. An absolute figure says something about the machine, so it is
reported beside its goal and never fails a run. The two sides of a pair run one after the
other, so that whatever else the machine is doing hits both; which of them goes first
alternates, so that neither always meets the warmer caches.

    WrongAnswer   a contestant was fast and wrong: the whole bench fails, whatever its ratio
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

QUICK_FACTOR = 0.7
"""Small inputs carry more start-up than large ones: `--quick` asks for this share of each ratio."""


class WrongAnswer(Exception):
    """The benchmark's correctness gate refused what a contestant computed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed run: `n` things in `wall_s`, which took `cpu_s` of the measured process."""

    n: int
    wall_s: float
    cpu_s: float
    peak_bytes: int

    @property
    def per_second(self) -> float:
        return self.n / self.wall_s

    @property
    def cpu_us(self) -> float:
        """CPU microseconds for each thing."""
        return self.cpu_s / self.n * 1e6

    @property
    def per_cpu_second(self) -> float:
        return self.n / self.cpu_s


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of ours and one of the baseline, made back to back."""

    ours: Sample
    baseline: Sample

    @property
    def by_wall(self) -> float:
        return self.ours.per_second / self.baseline.per_second

    @property
    def by_cpu(self) -> float:
        return self.ours.per_cpu_second / self.baseline.per_cpu_second


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that has to be reached: the median over the pairs, against `at_least`."""

    what: str
    ratios: tuple[float, ...]
    at_least: float
    aim: float | None = None

    @property
    def measured(self) -> float:
        return median(self.ratios)

    @property
    def met(self) -> bool:
        return self.measured >= self.at_least

    def relaxed(self, factor: float) -> Target:
        return Target(self.what, self.ratios, self.at_least * factor, self.aim)


@dataclass(frozen=True, slots=True)
class Goal:
    """An absolute figure beside what is wanted of it. Reported, never judged."""

    what: str
    measured: float
    wanted: float
    unit: str
    at_most: bool = False

    @property
    def reached(self) -> bool:
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted


@dataclass(frozen=True, slots=True)
class Contestant:
    """One line of the table: the median sample of what ran under this name."""

    name: str
    samples: tuple[Sample, ...]

    @property
    def typical(self) -> Sample:
        """The sample of median speed (a real run, not an average of several)."""
        ordered = sorted(self.samples, key=lambda sample: sample.per_second)
        return ordered[len(ordered) // 2]


@dataclass(frozen=True, slots=True)
class Finding:
    """Everything that one bench has to say."""

    name: str
    title: str
    unit: str
    contestants: tuple[Contestant, ...]
    targets: tuple[Target, ...]
    goals: tuple[Goal, ...] = ()
    gates: tuple[str, ...] = ()  # what was checked, in words
    notes: tuple[str, ...] = ()
    profiles: dict[str, str] = field(default_factory=dict[str, str])  # name -> top ten

    @property
    def met(self) -> bool:
        return all(target.met for target in self.targets)


async def interleave(
    count: int,
    ours: Callable[[], Awaitable[Sample]],
    baseline: Callable[[], Awaitable[Sample]],
) -> list[Pair]:
    """`count` pairs, ours first in the even ones. Raises whatever a contestant raises."""
    pairs: list[Pair] = []
    for index in range(count):
        if index % 2 == 0:
            mine = await ours()
            other = await baseline()
        else:
            other = await baseline()
            mine = await ours()
        pairs.append(Pair(mine, other))
    return pairs


def contest(name: str, baseline_name: str, pairs: Sequence[Pair]) -> tuple[Contestant, Contestant]:
    """The two lines of the table that these pairs make."""
    return (
        Contestant(name, tuple(pair.ours for pair in pairs)),
        Contestant(baseline_name, tuple(pair.baseline for pair in pairs)),
    )


def require_equal(what: str, ours: object, expected: object) -> None:
    """The gate: raises WrongAnswer, with both values, unless they are equal."""
    if ours != expected:
        raise WrongAnswer(f"{what}: got {_short(ours)}, expected {_short(expected)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
