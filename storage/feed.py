"""Reads of tracks, likes and comments: every listing is one statement, skeleton and hydration together.

Cells stay the bytes that Postgres wrote, because most of them go into the answer as they are. XRPC's rows
are plain tuples: fifty of them per answer make the difference of a named tuple count. REST's pages come as
one text. Hidden accounts are left out by the statements themselves, so that a page is as long as asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from storage.keyset import Place
from storage.queries import load
from storage.reader import Cell, Reads, Rows
from storage.search import words
from storage.spread import Spread

_SQL = load("feed")
_SKELETONS = ("latest", "top", "by_actor", "liked_by", "by_uris", "by_id", "search")

# id, card, author's card, plays, likes, comments, rkey of the viewer's like, whether it is unlisted
TrackRow = tuple[Cell, Cell, Cell, Cell, Cell, Cell, Cell, Cell]
YES = b"t"
REST_CELLS = 5  # that `hydrate_rest` gives
BETWEEN = b",\n"  # tracks; nothing in them has a line break
# account's card, its DID, rkey of the like, when
LikeRow = tuple[Cell, Cell, Cell, Cell]
# comment's card, author's card
CommentRow = tuple[Cell, Cell]

_R = TypeVar("_R")
_P = TypeVar("_P", bound="Page[Any] | Tracks")


def xrpc_statement(skeleton: str) -> str:
    """The tracks of a skeleton as `TrackRow`s, each followed by its two sort keys."""
    return _SQL["hydrate"].replace("{skeleton}", skeleton).replace("{track}", _SQL["card"])


def rest_statement(skeleton: str, *, liked: str = _SQL["is_liked"]) -> str:
    """The same for REST, as `rest_tracks` reads it. `liked`: whether the viewer likes a track."""
    made = _SQL["hydrate_rest"].replace("{people}", _SQL["people"]).replace("{liked}", liked)
    return made.replace("{skeleton}", skeleton).replace("{track}", _SQL["rest"])


STATEMENTS = (
    {f"feed_{name}": xrpc_statement(_SQL[name]) for name in (*_SKELETONS, "in_list")}
    | {f"rest_{name}": rest_statement(_SQL[name]) for name in _SKELETONS}
    | {f"feed_{name}": _SQL[name] for name in ("likes_of", "comments_of", "track_id")}
)
OPTIONAL = {
    "pg_trgm": {
        "feed_search_like": xrpc_statement(_SQL["search_like"]),
        "rest_search_like": rest_statement(_SQL["search_like"]),
    }
}


@dataclass(frozen=True, slots=True)
class Page(Generic[_R]):
    """Rows, and the place of the last one if more may follow."""

    rows: list[_R]
    next: Place | None

    @property
    def count(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Tracks:
    """A page for REST, or a single track. `text`: whole JSON objects, a line each, with commas between.
    `ready`: as they are shown, but for addresses of sound; else some are to be finished
    (appview/rest/present.py)."""

    text: bytes
    count: int
    ready: bool = True
    next: Place | None = None


def place_after(rows: Rows, limit: int, *columns: int) -> Place | None:
    """The place of the page's last row, if the row beyond the limit is there."""
    if rows.count <= limit:
        return None
    return tuple([rows.cell(limit - 1, column) or b"" for column in columns])


def _track_page(rows: Rows, limit: int) -> Page[TrackRow]:
    get = rows.cell
    found = [
        (get(i, 0), get(i, 1), get(i, 2), get(i, 3), get(i, 4), get(i, 5), get(i, 6), get(i, 9))
        for i in range(min(limit, rows.count))
    ]
    return Page(found, place_after(rows, limit, 7, 8))


def rest_tracks(rows: Rows, limit: int = sys.maxsize) -> Tracks:
    """What `hydrate_rest` gave, in the first cells of the first row: of one more than the limit at most."""
    get = rows.cell
    text, count, ready = get(0, 0) or b"", int(get(0, 1) or 0), get(0, 2) != YES
    if count <= limit:
        return Tracks(text, count, ready)
    return Tracks(text[: text.rindex(BETWEEN)], limit, ready, (get(0, 3) or b"", get(0, 4) or b""))


def _who(viewer: str | None) -> Cell:
    return None if viewer is None else viewer.encode()


@dataclass(frozen=True, slots=True)
class Feed(Generic[_P]):
    """The listings in one of their two forms: `read` makes a page of at most so many rows."""

    form: str
    read: Callable[[Rows, int], _P]
    none: _P

    async def page(
        self, reads: Reads, name: str, viewer: str | None, after: Place, limit: int, *more: Cell
    ) -> _P:
        """A listing whose skeleton takes the place in $2 and $3, the limit in $4, and `more` from $5 on."""
        rows = await reads.fetch(
            f"{self.form}_{name}", _who(viewer), after[0], after[1], b"%d" % (limit + 1), *more
        )
        return self.read(rows, limit)

    async def latest(self, reads: Reads, viewer: str | None, after: Place, limit: int) -> _P:
        """Everybody's tracks, newest first. Place: `keyset.TIME_ID`."""
        return await self.page(reads, "latest", viewer, after, limit)

    async def top(self, reads: Reads, viewer: str | None, after: Place, limit: int) -> _P:
        """Tracks that somebody played or likes, most played first, then most liked. Place:
        `keyset.COUNT_ID`."""
        return await self.page(reads, "top", viewer, after, limit)

    async def by_actor(self, reads: Reads, viewer: str | None, repo_id: int, after: Place, limit: int) -> _P:
        """One account's tracks, newest first. Place: `keyset.TIME_ID`."""
        return await self.page(reads, "by_actor", viewer, after, limit, b"%d" % repo_id)

    async def search(
        self, reads: Reads, spread: Spread, viewer: str | None, text: str, after: Place, limit: int
    ) -> _P:
        """Tracks whose words begin like those of the text, 2000 at most. Place: `keyset.RANK_ID`.

        With pg_trgm, a text that finds nothing is tried again as misspelled, for one page.
        """
        asked = words(text)
        if not asked:
            return self.none
        terms = spread.for_tracks(asked)
        page = await self.page(
            reads, "search", viewer, after, limit,
            terms.whole, terms.rare, text_array(terms.each), terms.newest,
        )  # fmt: skip
        if not page.count and "pg_trgm" in reads.extensions:
            spelled = " ".join(asked).encode()
            page = replace(await self.page(reads, "search_like", viewer, after, limit, spelled), next=None)
        return page

    async def by_uris(self, reads: Reads, viewer: str | None, uris: Sequence[str]) -> _P:
        """The tracks at these URIs (authorities are DIDs) that can be shown, in their order."""
        if not uris:
            return self.none
        rows = await reads.fetch(f"{self.form}_by_uris", _who(viewer), text_array(uris))
        return self.read(rows, len(uris))

    async def by_id(self, reads: Reads, viewer: str | None, track_id: int) -> _P | None:
        """The track of this number, if it can be shown."""
        page = self.read(await reads.fetch(f"{self.form}_by_id", _who(viewer), b"%d" % track_id), 1)
        return page if page.count else None


XRPC: Feed[Page[TrackRow]] = Feed("feed", _track_page, Page([], None))
REST: Feed[Tracks] = Feed("rest", rest_tracks, Tracks(b"", 0))


async def liked_by(
    reads: Reads, viewer: str | None, repo_id: int, after: Place, limit: int
) -> Page[tuple[TrackRow, Cell, Cell]]:
    """The tracks that an account likes, each with the like's time and rkey. Place: `keyset.TIME_RKEY`."""
    rows = await reads.fetch("feed_liked_by", _who(viewer), *after, b"%d" % (limit + 1), b"%d" % repo_id)
    page = _track_page(rows, limit)
    return Page([(track, rows.cell(i, 7), rows.cell(i, 8)) for i, track in enumerate(page.rows)], page.next)


async def in_list(
    reads: Reads, viewer: str | None, list_id: int, after: Place, limit: int
) -> Page[tuple[TrackRow, int]]:
    """The tracks of a list with their positions. Place: `keyset.POSITION`."""
    rows = await reads.fetch(
        "feed_in_list", _who(viewer), after[0], None, b"%d" % (limit + 1), b"%d" % list_id
    )
    placed = [(track, -int(rows.cell(i, 7) or 0)) for i, track in enumerate(_track_page(rows, limit).rows)]
    return Page(placed, (b"%d" % placed[-1][1],) if rows.count > limit else None)


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
    if not values:
        return b"{}"
    text = '","'.join(values)
    if "\\" in text or text.count('"') != 2 * (len(values) - 1):
        text = '","'.join([value.replace("\\", "\\\\").replace('"', '\\"') for value in values])
    return f'{{"{text}"}}'.encode()
