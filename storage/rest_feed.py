"""Listings that only the REST interface has, each in one statement: one's own, by tag, of a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from lexicons.syntax import Nsid, Rev
from storage.feed import REST, Tracks, rest_statement, rest_tracks, text_array
from storage.keyset import Place
from storage.queries import in_sight, load
from storage.reader import Cell, Reads

_SQL = load("rest_feed")
_SKELETONS = ("by_artist", "tagged", "mine", "unproven", "by_ids")

STATEMENTS = (
    {f"rest_{name}": rest_statement(_SQL[name]) for name in _SKELETONS}
    | {"rest_liked": rest_statement(_SQL["liked"], liked="true")}
    | {f"rest_{name}": _SQL[name] for name in ("mine_count", "top_since")}
    | {f"rest_{name}": in_sight(_SQL[name]) for name in ("tags", "tag")}
)


class Sort(StrEnum):
    """The order of one's own tracks."""

    RECENT = "recent"
    TITLE = "title"
    PLAYS = "plays"


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, and the tracks that have it."""

    name: str
    tracks: int
    plays: int


async def by_artist(reads: Reads, viewer: str | None, did: str, after: Place, limit: int) -> Tracks:
    """One account's tracks, newest first; none where it cannot be shown. Place: `keyset.TIME_ID`."""
    return await REST.page(reads, "by_artist", viewer, after, limit, did.encode())


async def tagged(
    reads: Reads, viewer: str | None, tags: Sequence[str], artist: str | None, after: Place, limit: int
) -> Tracks:
    """Tracks with any of these tags, newest first; with `artist` only that account's. Place:
    `keyset.TIME_ID`."""
    by = None if artist is None else artist.encode()
    return await REST.page(reads, "tagged", viewer, after, limit, text_array(tags), by)


async def liked(reads: Reads, viewer: str, after: Place, limit: int) -> Tracks:
    """What the viewer likes, latest first. Place: `keyset.TIME_RKEY`."""
    return await REST.page(reads, "liked", viewer, after, limit)


async def liked_by(reads: Reads, viewer: str | None, repo_id: int, after: Place, limit: int) -> Tracks:
    """What an account likes, likewise."""
    return await REST.page(reads, "liked_by", viewer, after, limit, b"%d" % repo_id)


async def mine(
    reads: Reads, viewer: str, sort: Sort, words: str | None, limit: int, offset: int
) -> tuple[Tracks, int]:
    """Some of the viewer's own tracks, whether others see them or not; and how many there are."""
    who, said = viewer.encode(), None if words is None else words.encode()
    rows, count = await reads.fetch_all(
        ("rest_mine", (who, sort.encode(), said, b"%d" % limit, b"%d" % offset)),
        ("rest_mine_count", (who, said)),
    )
    return rest_tracks(rows), int(count.cell(0, 0) or 0)


async def unproven(reads: Reads, viewer: str, before: Rev, collection: Nsid, limit: int) -> Tracks:
    """The viewer's own tracks that nobody has proven since that rev, newest first."""
    rows = await reads.fetch(
        "rest_unproven", viewer.encode(), before.encode(), collection.encode(), b"%d" % limit
    )
    return rest_tracks(rows)


async def by_ids(reads: Reads, viewer: str | None, ids: Sequence[int]) -> Tracks:
    """The tracks of these numbers that are listed, in their order."""
    who = None if viewer is None else viewer.encode()
    rows = await reads.fetch("rest_by_ids", who, ("{" + ",".join(map(str, ids)) + "}").encode())
    return rest_tracks(rows)


async def top_since(reads: Reads, day: date, limit: int) -> list[int]:
    """The numbers of the tracks that were played most from that day on, UTC."""
    rows = await reads.fetch("rest_top_since", day.isoformat().encode(), b"%d" % limit)
    return [int(rows.cell(i, 0) or 0) for i in range(rows.count)]


async def tags(reads: Reads, start: str | None, limit: int) -> list[Tag]:
    """Tags that begin like this, those that most tracks have first."""
    rows = await reads.fetch("rest_tags", None if start is None else start.encode(), b"%d" % limit)
    return [
        Tag(_text(rows.cell(i, 0)), int(rows.cell(i, 1) or 0), int(rows.cell(i, 2) or 0))
        for i in range(rows.count)
    ]


async def tag_count(reads: Reads, tag: str) -> int:
    """How many tracks have this tag, of 10,000 at most."""
    return int((await reads.fetch("rest_tag", tag.encode())).cell(0, 0) or 0)


def _text(cell: Cell) -> str:
    return (cell or b"").decode()
