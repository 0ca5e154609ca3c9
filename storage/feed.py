"""Reads of tracks, likes and comments: every listing is one statement, skeleton and hydration together.

Cells stay the bytes that Postgres wrote, because most of them go into the answer as they are, and rows
are plain tuples: fifty of them per answer make the difference of a named tuple count. Hidden accounts
are left out by the statements themselves, so that a page is as long as asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from storage.keyset import Place
from storage.queries import load
from storage.reader import Cell, Reads, Rows
from storage.search import ts_query, ts_query_any, words

_SQL = load("feed")
_SKELETONS = ("latest", "top", "by_actor", "liked_by", "by_uris", "by_id", "in_list", "search")


def _hydrated(skeleton: str) -> str:
    return _SQL["hydrate"].replace("{skeleton}", _SQL[skeleton])


STATEMENTS = {f"feed_{name}": _hydrated(name) for name in _SKELETONS} | {
    f"feed_{name}": _SQL[name] for name in ("likes_of", "comments_of", "track_id")
}
OPTIONAL = {"pg_trgm": {"feed_search_like": _hydrated("search_like")}}

# id, card, author's card, plays, likes, comments, rkey of the viewer's like
TrackRow = tuple[Cell, Cell, Cell, Cell, Cell, Cell, Cell]
# account's card, its DID, rkey of the like, when
LikeRow = tuple[Cell, Cell, Cell, Cell]
# comment's card, author's card
CommentRow = tuple[Cell, Cell]

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Page(Generic[_R]):
    """Rows, and the place of the last one if more may follow."""

    rows: list[_R]
    next: Place | None


def place_after(rows: Rows, limit: int, *columns: int) -> Place | None:
    """The place of the page's last row, if the row beyond the limit is there."""
    if rows.count <= limit:
        return None
    return tuple([rows.cell(limit - 1, column) or b"" for column in columns])


def _tracks(rows: Rows, limit: int) -> list[TrackRow]:
    get = rows.cell
    return [
        (get(i, 0), get(i, 1), get(i, 2), get(i, 3), get(i, 4), get(i, 5), get(i, 6))
        for i in range(min(limit, rows.count))
    ]


async def _page(
    reads: Reads, name: str, viewer: str | None, after: Place, limit: int, *more: Cell
) -> Page[TrackRow]:
    who = None if viewer is None else viewer.encode()
    rows = await reads.fetch(name, who, after[0], after[1], b"%d" % (limit + 1), *more)
    return Page(_tracks(rows, limit), place_after(rows, limit, 7, 8))


async def latest(reads: Reads, viewer: str | None, after: Place, limit: int) -> Page[TrackRow]:
    """Everybody's tracks, newest first. Place: `keyset.TIME_ID`."""
    return await _page(reads, "feed_latest", viewer, after, limit)


async def top(reads: Reads, viewer: str | None, after: Place, limit: int) -> Page[TrackRow]:
    """Tracks that somebody played or likes, most played first, then most liked. Place: `keyset.COUNT_ID`."""
    return await _page(reads, "feed_top", viewer, after, limit)


async def by_actor(
    reads: Reads, viewer: str | None, repo_id: int, after: Place, limit: int
) -> Page[TrackRow]:
    """One account's tracks, newest first. Place: `keyset.TIME_ID`."""
    return await _page(reads, "feed_by_actor", viewer, after, limit, b"%d" % repo_id)


async def search(reads: Reads, viewer: str | None, text: str, after: Place, limit: int) -> Page[TrackRow]:
    """Tracks whose words begin like those of the text. Place: `keyset.RANK_ID`.

    With pg_trgm, a text that finds nothing is tried again as misspelled, for one page.
    """
    query = ts_query(text)
    if not query:
        return Page([], None)
    page = await _page(
        reads, "feed_search", viewer, after, limit, query.encode(), ts_query_any(text).encode()
    )
    if not page.rows and "pg_trgm" in reads.extensions:
        spelled = " ".join(words(text)).encode()
        page = Page((await _page(reads, "feed_search_like", viewer, after, limit, spelled)).rows, None)
    return page


async def liked_by(
    reads: Reads, viewer: str | None, repo_id: int, after: Place, limit: int
) -> Page[tuple[TrackRow, Cell, Cell]]:
    """The tracks that an account likes, each with the like's time and rkey. Place: `keyset.TIME_RKEY`."""
    who = None if viewer is None else viewer.encode()
    rows = await reads.fetch("feed_liked_by", who, *after, b"%d" % (limit + 1), b"%d" % repo_id)
    tracks = _tracks(rows, limit)
    return Page(
        [(track, rows.cell(i, 7), rows.cell(i, 8)) for i, track in enumerate(tracks)],
        place_after(rows, limit, 7, 8),
    )


async def in_list(
    reads: Reads, viewer: str | None, list_id: int, after: Place, limit: int
) -> Page[tuple[TrackRow, int]]:
    """The tracks of a list with their positions. Place: `keyset.POSITION`."""
    who = None if viewer is None else viewer.encode()
    rows = await reads.fetch("feed_in_list", who, after[0], None, b"%d" % (limit + 1), b"%d" % list_id)
    placed = [(track, -int(rows.cell(i, 7) or 0)) for i, track in enumerate(_tracks(rows, limit))]
    return Page(placed, (b"%d" % placed[-1][1],) if rows.count > limit else None)


async def by_uris(reads: Reads, viewer: str | None, uris: Sequence[str]) -> list[TrackRow]:
    """The tracks at these URIs (authorities are DIDs) that can be shown, in their order."""
    who = None if viewer is None else viewer.encode()
    rows = await reads.fetch("feed_by_uris", who, text_array(uris))
    return _tracks(rows, len(uris))


async def by_id(reads: Reads, viewer: str | None, track_id: int) -> TrackRow | None:
    """The track of this number, if it can be shown."""
    who = None if viewer is None else viewer.encode()
    tracks = _tracks(await reads.fetch("feed_by_id", who, b"%d" % track_id), 1)
    return tracks[0] if tracks else None


async def track_id(reads: Reads, uri: str) -> int | None:
    """The number of a track that can be shown."""
    rows = await reads.fetch("feed_track_id", uri.encode())
    return int(rows.cell(0, 0) or 0) if rows.count else None


async def likes_of(reads: Reads, track: int, after: Place, limit: int) -> Page[LikeRow]:
    """Who likes a track, latest first. Place: `keyset.TIME_REPO`."""
    rows = await reads.fetch("feed_likes_of", b"%d" % track, *after, b"%d" % (limit + 1))
    get = rows.cell
    likes = [(get(i, 0), get(i, 1), get(i, 2), get(i, 3)) for i in range(min(limit, rows.count))]
    return Page(likes, place_after(rows, limit, 3, 4))


async def comments_of(reads: Reads, track: int, after: Place, limit: int) -> Page[CommentRow]:
    """The comments on a track in the order of their moments. Place: `keyset.MOMENT`."""
    rows = await reads.fetch("feed_comments_of", b"%d" % track, *after, b"%d" % (limit + 1))
    comments = [(rows.cell(i, 0), rows.cell(i, 1)) for i in range(min(limit, rows.count))]
    return Page(comments, place_after(rows, limit, 2, 3, 4))


def text_array(values: Sequence[str]) -> bytes:
    """A text[] parameter."""
    quoted = ['"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values]
    return ("{" + ",".join(quoted) + "}").encode()
