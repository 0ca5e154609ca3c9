"""What a text may be looking for: candidates, for whoever judges them. Hidden accounts are not found."""

from __future__ import annotations

from dataclasses import dataclass

from storage.feed import text_array
from storage.queries import load
from storage.reader import Reads
from storage.search import ts_query, words

_SQL = load("finding")

STATEMENTS = {f"finding_{name}": sql for name, sql in _SQL.items()}


@dataclass(frozen=True, slots=True)
class Album:
    """`rest` as in `track.rest`, of one of its tracks; None where that is not known."""

    title: str
    author: bytes
    rest: bytes | None


async def artists(reads: Reads, text: str, limit: int) -> list[bytes]:
    """The cards of accounts whose names have words that begin like those of the text."""
    query = ts_query(text)
    if not query:
        return []
    rows = await reads.fetch("finding_artists", query.encode(), b"%d" % limit)
    return [rows.cell(i, 0) or b"" for i in range(rows.count)]


async def albums(reads: Reads, text: str) -> list[Album]:
    """Albums whose title, or tracks, have such words, 200 at most in no order."""
    query = ts_query(text)
    if not query:
        return []
    patterns = text_array([f"%{word}%" for word in words(text)])
    rows = await reads.fetch("finding_albums", query.encode(), patterns)
    get = rows.cell
    return [Album((get(i, 0) or b"").decode(), get(i, 1) or b"", get(i, 2)) for i in range(rows.count)]
