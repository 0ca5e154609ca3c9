"""Reads of playlists: lists that call themselves one. A list's number is the playlist's."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from lexicons.syntax import Did, Rkey
from storage import feed
from storage.feed import Tracks
from storage.queries import load
from storage.reader import Cell, Reads, Rows

_SQL = load("playlists")

STATEMENTS = {
    **{
        f"playlists_{name}": _SQL["hydrate"].replace("{skeleton}", _SQL[name])
        for name in ("of_owner", "by_id", "by_address")
    },
    "playlists_tracks": feed.rest_statement(_SQL["tracks"]),
}


@dataclass(frozen=True, slots=True)
class PlaylistRow:
    """`author` is a card. `tracks`: how many can be shown. `cover`: the hash of its own one; `previews`: URLs
    of its first tracks' pictures."""

    id: int
    rkey: Rkey
    name: str
    did: Did
    author: bytes
    created_at: Cell
    cover: str | None
    on_profile: bool
    tracks: int
    previews: tuple[str, ...]


async def of_owner(reads: Reads, repo_id: int, *, on_profile: bool = False) -> list[PlaylistRow]:
    """An account's, newest first, the first five hundred; or only those shown with its profile."""
    rows = await reads.fetch("playlists_of_owner", b"%d" % repo_id, b"t" if on_profile else b"f")
    return [_row(rows, i) for i in range(rows.count)]


async def get(reads: Reads, id: int) -> PlaylistRow | None:
    rows = await reads.fetch("playlists_by_id", b"%d" % id)
    return _row(rows, 0) if rows.count else None


async def at(reads: Reads, did: str, rkey: str) -> PlaylistRow | None:
    """One by its address."""
    rows = await reads.fetch("playlists_by_address", did.encode(), rkey.encode())
    return _row(rows, 0) if rows.count else None


async def tracks(reads: Reads, viewer: str | None, id: int) -> Tracks:
    """All of a playlist's that can be shown, in its order."""
    who = None if viewer is None else viewer.encode()
    return feed.rest_tracks(await reads.fetch("playlists_tracks", who, b"%d" % id))


def _row(rows: Rows, i: int) -> PlaylistRow:
    def text(column: int) -> str:
        return (rows.cell(i, column) or b"").decode()

    return PlaylistRow(
        id=int(text(0)),
        rkey=Rkey(text(1)),
        name=text(2),
        did=Did(text(3)),
        author=rows.cell(i, 4) or b"",
        created_at=rows.cell(i, 5),
        cover=text(6) or None,
        on_profile=rows.cell(i, 7) == b"t",
        tracks=int(text(8)),
        previews=tuple(orjson.loads(rows.cell(i, 9) or b"[]")),
    )
