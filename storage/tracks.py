"""Tables `track_uri` (interned URIs), `track_stat` (their counters), `track` (the projection), `track_tag`.

Contract: for each tag in `track_stat.tags` of a track that is there and listed there is one row in
`track_tag`, with the track's `sort_at`, and there are no others. Whoever changes a track or its tags holds
the lock of its repo, and so sees what others made of them.

Example: tagged before its record came, a track has no row; when the record comes it has one for each tag;
unlisted or deleted it has none, and listed or created again it has them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from lexicons.syntax import AtUri, Cid, Did, Rkey
from storage import repos
from storage.postgres import Asked, Connection, as_json
from storage.queries import load

_SQL = load("tracks")


@dataclass(frozen=True, slots=True)
class TrackRow:
    """`card` and `rest` hold rendered JSON members, `search` folded words (`storage.search.fold`).
    `unlisted`: only where somebody asks for it."""

    id: int
    repo_id: int
    rkey: Rkey
    cid: Cid
    sort_at: datetime
    indexed_at: datetime
    title: str
    card: str
    search: str
    rest: str
    features: tuple[Did, ...] | None
    album: str | None
    album_id: str | None
    file_id: str
    unlisted: bool


@dataclass(frozen=True, slots=True)
class Unrendered:
    """A row without its REST columns; `pds` is where its account is."""

    id: int
    card: str
    did: Did
    pds: str | None


@dataclass(frozen=True, slots=True)
class Rendered:
    """REST columns of a row, as in `TrackRow`."""

    id: int
    rest: str
    features: tuple[Did, ...] | None
    album: str | None
    album_id: str | None
    file_id: str


@dataclass(frozen=True, slots=True)
class StatDelta:
    id: int
    likes: int
    comments: int


@dataclass(frozen=True, slots=True)
class Names:
    """The numbers of some track URIs; `added` are those that got theirs just now. `lists`: the numbers that
    lists got."""

    ids: dict[AtUri, int]
    added: list[AtUri]
    lists: dict[AtUri, int] = field(default_factory=dict[AtUri, int])


async def ask_names(conn: Connection, uris: Iterable[AtUri]) -> Asked[Names]:
    """The number of each URI; one that nobody mentioned before gets one, with counters at zero. One that
    another writer is adding at the same moment is left out: `intern` then asks again."""
    cursor = await conn.execute(_SQL["intern"], {"uris": as_json(sorted(uris))})
    return Asked(cursor, _names)


async def intern(conn: Connection, uris: Iterable[AtUri], known: Names | None = None) -> Names:
    """The number of each URI, for those that are not in `known`; the answer has these, too."""
    names = known or Names({}, [])
    while missing := [uri for uri in uris if uri not in names.ids]:
        found = await (await ask_names(conn, missing)).answer()
        names.ids.update(found.ids)
        names.added.extend(found.added)
    return names


def _names(rows: Sequence[tuple[AtUri, int, bool]]) -> Names:
    return Names({uri: id for uri, id, _ in rows}, [uri for uri, _, new in rows if new])


async def put(conn: Connection, rows: Sequence[TrackRow]) -> None:
    await conn.execute(_SQL["put"], {"rows": as_json(rows)})


async def unrendered(conn: Connection, limit: int) -> list[Unrendered]:
    """Some of the rows that have no REST columns yet, locked until the transaction ends."""
    async with conn.cursor(row_factory=class_row(Unrendered)) as cursor:
        await cursor.execute(_SQL["unrendered"], {"limit": limit})
        return await cursor.fetchall()


async def render(conn: Connection, rows: Sequence[Rendered]) -> None:
    await conn.execute(_SQL["render"], {"rows": as_json(rows)})


async def tag(conn: Connection, uri: AtUri, tags: Sequence[str]) -> None:
    """File a track under these tags alone, whether its record is known already or not."""
    await intern(conn, [uri])
    await repos.lock(conn, [Did(uri.split("/")[2])])
    await conn.execute(_SQL["tag"], {"uri": uri, "tags": list(tags)})


async def remove(conn: Connection, ids: Sequence[int]) -> None:
    await conn.execute(_SQL["remove"], {"ids": list(ids)})


async def unlist(conn: Connection, repo_id: int, rkey: Rkey, *, unlisted: bool) -> None:
    """Take a track out of every listing, or put it back. One that is not there is left alone."""
    await conn.execute(_SQL["unlist"], {"repo_id": repo_id, "rkey": rkey, "unlisted": unlisted})


async def count(conn: Connection, deltas: Sequence[StatDelta]) -> None:
    await conn.execute(_SQL["count"], {"rows": as_json(deltas)})


async def count_account(conn: Connection, repo_id: int, sign: int) -> None:
    """Take everything that one account liked and commented out of the counters (-1), or back in (+1)."""
    await conn.execute(_SQL["count_account"], {"repo_id": repo_id, "sign": sign})
