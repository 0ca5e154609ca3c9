"""What a text may be looking for: candidates, for whoever judges them. Hidden accounts are not found."""

from __future__ import annotations

from dataclasses import dataclass

from storage import keyset, people
from storage.feed import text_array
from storage.queries import load
from storage.reader import Reads
from storage.search import words
from storage.spread import Spread

_SQL = load("finding")

STATEMENTS = {f"finding_{name}": sql for name, sql in _SQL.items()}


@dataclass(frozen=True, slots=True)
class Album:
    """`rest` as in `track.rest`, of one of its tracks; None where that is not known."""

    title: str
    author: bytes
    rest: bytes | None


async def artists(reads: Reads, spread: Spread, text: str, limit: int) -> list[bytes]:
    """The cards of accounts whose names have words that begin like those of the text, the best first."""
    page = await people.by_words(reads, spread, words(text), keyset.RANK_REPO.start, limit)
    return [row.card for row in page.rows]


async def albums(reads: Reads, spread: Spread, text: str) -> list[Album]:
    """Albums whose title, or tracks, have such words, 200 at most in no order."""
    asked = words(text)
    if not asked:
        return []
    terms = spread.for_albums(asked)
    patterns = text_array([f"%{word}%" for word in asked])
    rows = await reads.fetch("finding_albums", terms.whole, patterns, terms.rare, terms.newest)
    get = rows.cell
    return [Album((get(i, 0) or b"").decode(), get(i, 1) or b"", get(i, 2)) for i in range(rows.count)]
