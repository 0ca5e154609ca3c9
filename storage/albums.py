"""Reads of albums: lists that call themselves one, and titles that tracks name. Their ids and slugs are the
caller's business (`indexer.albums`): here an album is its `album_id`, and among lists of one id its rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lexicons.syntax import Cid, Rkey
from storage import feed
from storage.feed import Page, Tracks
from storage.keyset import Place
from storage.queries import load
from storage.reader import Cell, Reads, Rows

_SQL = load("albums")
MOST = 100  # on a page
_SKELETONS = ("page", "of_artist", "one", "of_list")


def _made(sql: str) -> str:
    return sql.replace("{on_album}", _SQL["on_album"]).replace("{shown}", _SQL["shown"])


def _hydrated(skeleton: str, repo: str = "$1") -> str:
    return _made(_SQL["hydrate"].replace("{skeleton}", _SQL[skeleton].replace("{repo}", repo)))


STATEMENTS = {
    **{f"albums_{name}": _hydrated(name) for name in _SKELETONS},
    **{f"albums_{name}": _made(_SQL[name]) for name in ("owner", "members", "members_named")},
    "albums_whole": _SQL["whole"]
    .replace("{album}", _hydrated("one", "$4"))
    .replace("{tracks}", feed.rest_statement(_made(_SQL["tracks"]))),
}


@dataclass(frozen=True, slots=True)
class AlbumRow:
    """`base`: the id of account and slug, which is the album's own where `rank` is 1. `list_id`, `rkey` None:
    no list. `author` is a card. `cover`: the hash of its own one; `image`: the URL of its first track's."""

    title: str
    base: str
    list_id: int | None
    rkey: Rkey | None
    rank: int
    author: bytes
    did: str
    tracks: int
    plays: int
    cover: str | None
    image: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class Member:
    """A track of an album. `named`: its record names the album; `own`: it is by the album's artist."""

    id: int
    uri: str
    cid: Cid
    rkey: Rkey
    named: bool
    own: bool


async def page(reads: Reads, after: Place, limit: int) -> Page[AlbumRow]:
    """Everybody's albums by title. Place: `keyset.ALBUM`."""
    rows = await reads.fetch("albums_page", *after, b"%d" % (limit + 1))
    found = [_album(rows, i) for i in range(min(limit, rows.count))]
    return Page(found, feed.place_after(rows, limit, 12, 13, 1, 14))


async def of_artist(reads: Reads, repo_id: int) -> list[AlbumRow]:
    """An account's albums by title, the first thousand."""
    rows = await reads.fetch("albums_of_artist", b"%d" % repo_id)
    return [_album(rows, i) for i in range(rows.count)]


async def get(reads: Reads, repo_id: int, base: str, rank: int = 1) -> AlbumRow | None:
    """One album of an account that can be shown."""
    rows = await reads.fetch("albums_one", b"%d" % repo_id, base.encode(), b"%d" % rank)
    return _album(rows, 0) if rows.count else None


async def of_list(reads: Reads, list_id: int) -> AlbumRow | None:
    """The album that this list is, if it is one and can be shown."""
    rows = await reads.fetch("albums_of_list", b"%d" % list_id)
    return _album(rows, 0) if rows.count else None


async def owner(reads: Reads, id: str) -> tuple[int, str] | None:
    """Repo and DID of whose album has this id, where it is the first of its name."""
    rows = await reads.fetch("albums_owner", id.encode())
    return (int(rows.cell(0, 0) or 0), (rows.cell(0, 1) or b"").decode()) if rows.count else None


async def whole(
    reads: Reads, viewer: str | None, repo_id: int, base: str, rank: int
) -> tuple[AlbumRow, Tracks] | None:
    """The same with its tracks that can be shown, in order: a thousand at most."""
    who = None if viewer is None else viewer.encode()
    rows = await reads.fetch("albums_whole", who, base.encode(), b"%d" % rank, b"%d" % repo_id)
    if not rows.count:
        return None
    return _album(rows, 0, feed.REST_CELLS), feed.rest_tracks(rows)


async def members(reads: Reads, album: AlbumRow) -> list[Member]:
    """All of its tracks that are there, hidden or not, in order."""
    return _members(await reads.fetch("albums_members", *_key(album), album.did.encode()))


async def named(reads: Reads, album: AlbumRow, ids: Sequence[int]) -> list[Member]:
    """Those of these tracks that are there, on the album or not, in any order."""
    array = b"{%b}" % b",".join(b"%d" % id for id in ids)
    return _members(await reads.fetch("albums_members_named", album.base.encode(), array, album.did.encode()))


def _members(rows: Rows) -> list[Member]:
    texts = [[(rows.cell(i, n) or b"").decode() for n in range(6)] for i in range(rows.count)]
    return [
        Member(int(id), uri, Cid(cid), Rkey(rkey), named == "t", own == "t")
        for id, uri, cid, rkey, named, own in texts
    ]


def _key(album: AlbumRow) -> tuple[bytes, bytes | None, bytes]:
    list_id = None if album.list_id is None else b"%d" % album.list_id
    return album.base.encode(), list_id, b"%d" % album.rank


def _album(rows: Rows, i: int, first: int = 0) -> AlbumRow:
    """What stands in row `i` from column `first` on."""
    title, base, list_id, rkey, rank, author, did, tracks, plays, cover, image, description = [
        rows.cell(i, n) for n in range(first, first + 12)
    ]
    return AlbumRow(
        title=_text(title) or "",
        base=_text(base) or "",
        list_id=None if list_id is None else int(list_id),
        rkey=None if rkey is None else Rkey(rkey.decode()),
        rank=int(rank or 1),
        author=author or b"",
        did=_text(did) or "",
        tracks=int(tracks or 0),
        plays=int(plays or 0),
        cover=_text(cover),
        image=_text(image),
        description=_text(description),
    )


def _text(cell: Cell) -> str | None:
    return None if cell is None else cell.decode()
