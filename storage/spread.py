"""How common words are, and how a text is looked for at a cost that does not depend on that.

An index of words is as slow as its commonest word: a word that every title has costs a million entries,
though nobody wants a million tracks. So only rare words are looked up, and the others are looked for in
what those found. How common a word is, a sample tells, with all that begin like it: of fewer rows than the
sample holds it is exact, of more an estimate, of which an error makes an answer dearer or a little shorter.

Example: of `track 463335`, where every title begins with "Track", the index is asked for `463335` alone.
Of `track` it is asked for nothing, and the newest tracks are looked through.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

import structlog

from storage.queries import load
from storage.reader import Cell, ReadFailed, Reads, Rows
from storage.search import ts_query

log = structlog.get_logger()

_SQL = load("spread")

STATEMENTS = {f"spread_{name}": sql for name, sql in _SQL.items()}

SAMPLE = 2000  # rows
GOOD_FOR_S = 60.0
MOST_ENTRIES = 50_000  # of the index, read for one question: some 10 ms
MOST_ROWS = 2000  # that it may lead to; the statements end a little later
MOST_NAMES = 200  # accounts that one word may lead to


class Sample:
    """Some rows of a table of `total`: `texts` are their words, with spaces between."""

    def __init__(self, texts: Sequence[str], total: int) -> None:
        pairs = sorted((word, row) for row, text in enumerate(texts) for word in text.split())
        self._words = [word for word, _ in pairs]
        self._rows = [row for _, row in pairs]
        self._each = max(1.0, total / len(texts)) if texts else 0.0

    def rows(self, start: str) -> float:
        """About how many rows have a word that begins like this."""
        return len(self._having(start)) * self._each

    def rows_with_all(self, starts: Sequence[str]) -> float:
        """About how many have such a word for each of these, at least one."""
        first, *others = [self._having(start) for start in starts]
        return len(first.intersection(*others)) * self._each

    def _having(self, start: str) -> frozenset[int]:
        begin = bisect_left(self._words, start)
        end = bisect_left(self._words, start + "\U0010ffff", begin)
        return frozenset(self._rows[begin:end])


@dataclass(frozen=True, slots=True)
class Terms:
    """What the statements of search take: `whole`, a tsquery that all that is found satisfies; `rare`, the
    part of it to ask an index of, None where there is none; `each` of those words as a tsquery of its own;
    and, as Postgres writes it, whether the newest rows are to be looked through as well."""

    whole: bytes
    rare: Cell
    each: tuple[str, ...]
    newest: bytes


@dataclass(frozen=True, slots=True)
class Spread:
    """Samples of the tracks, and of the accounts by their names."""

    tracks: Sample
    names: Sample

    def for_tracks(self, asked: Sequence[str]) -> Terms:
        """Of words, at least one, each of which a track or its author has."""
        rare = _rare(asked, lambda word: self.tracks.rows(word) + self.names.rows(word))
        newest = (
            not rare
            or self.tracks.rows_with_all(rare) > MOST_ROWS
            or any(self.names.rows(word) > MOST_NAMES for word in rare)
        )
        return _terms(asked, rare, newest=newest)

    def for_albums(self, asked: Sequence[str]) -> Terms:
        """Of words, at least one, which a track has itself."""
        return _alone(asked, self.tracks)

    def for_names(self, asked: Sequence[str]) -> Terms:
        """Of words, at least one, which an account's names have."""
        return _alone(asked, self.names)


class Spreads:
    """The samples, at most a minute old. While somebody takes new ones, the old are good enough."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._lock = asyncio.Lock()
        self._value: Spread | None = None
        self._until = 0.0

    async def get(self) -> Spread:
        """Raises ReadFailed, where none were ever taken."""
        if self._value is not None and (self._lock.locked() or monotonic() < self._until):
            return self._value
        async with self._lock:
            if self._value is None or monotonic() >= self._until:
                await self._take()
            assert self._value is not None
            return self._value

    async def _take(self) -> None:
        try:
            tracks, names = await asyncio.gather(
                self._reads.fetch("spread_tracks", b"%d" % SAMPLE),
                self._reads.fetch("spread_names", b"%d" % SAMPLE),
            )
            self._value = Spread(_sample(tracks), _sample(names))
        except ReadFailed as error:
            if self._value is None:
                raise
            log.warning("cannot take new samples of words", error=str(error))
        self._until = monotonic() + GOOD_FOR_S


def _sample(rows: Rows) -> Sample:
    total = int(rows.cell(0, 0) or 0) if rows.count else 0
    return Sample([(rows.cell(i, 1) or b"").decode() for i in range(rows.count)], total)


def _rare(asked: Sequence[str], cost: Callable[[str], float]) -> list[str]:
    """The rarest words, as many as the index may be asked for at once."""
    entries, found = 0.0, list[str]()
    for cost_of_one, word in sorted((cost(word), word) for word in asked):
        entries += cost_of_one
        if entries > MOST_ENTRIES:
            break
        found.append(word)
    return found


def _alone(asked: Sequence[str], sample: Sample) -> Terms:
    rare = _rare(asked, sample.rows)
    return _terms(asked, rare, newest=not rare or sample.rows_with_all(rare) > MOST_ROWS)


def _terms(asked: Sequence[str], rare: Sequence[str], *, newest: bool) -> Terms:
    return Terms(
        ts_query(asked).encode(),
        ts_query(rare).encode() if rare else None,
        tuple(ts_query([word]) for word in rare),
        b"t" if newest else b"f",
    )
