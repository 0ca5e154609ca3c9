"""Reads of lists: albums, playlists, whatever their owners call them. Their tracks come from `feed`."""

from __future__ import annotations

from dataclasses import dataclass

from storage.feed import Page, place_after
from storage.keyset import Place
from storage.queries import load
from storage.reader import Reads, Rows

_SQL = load("lists")

STATEMENTS = {f"lists_{name}": _SQL[name] for name in ("list", "lists_of")}


@dataclass(frozen=True, slots=True)
class ListRow:
    """A list, its owner's card, and how many of its tracks can be shown."""

    id: int
    card: bytes
    author: bytes
    items: bytes


def _row(rows: Rows, i: int) -> ListRow:
    get = rows.cell
    return ListRow(int(get(i, 0) or 0), get(i, 1) or b"", get(i, 2) or b"", get(i, 3) or b"0")


async def get(reads: Reads, did: str, rkey: str) -> ListRow | None:
    """One list by its address."""
    rows = await reads.fetch("lists_list", did.encode(), rkey.encode())
    return _row(rows, 0) if rows.count else None


async def by_actor(
    reads: Reads, repo_id: int, list_type: str | None, after: Place, limit: int
) -> Page[ListRow]:
    """An account's lists, newest first, of one type or of all. Place: `keyset.TIME_ID`."""
    kind = None if list_type is None else list_type.encode()
    rows = await reads.fetch("lists_lists_of", b"%d" % repo_id, *after, b"%d" % (limit + 1), kind)
    page = [_row(rows, i) for i in range(min(limit, rows.count))]
    return Page(page, place_after(rows, limit, 4, 0))
