"""Tables `track_uri` (interned URIs), `track_stat` (their counters) and `track` (the projection)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from lexicons.syntax import AtUri, Cid, Rkey
from storage.postgres import Connection, as_json
from storage.queries import load

_SQL = load("tracks")


@dataclass(frozen=True, slots=True)
class TrackRow:
    """`card` holds rendered JSON members, `search` folded words (`storage.search.fold`)."""

    id: int
    repo_id: int
    rkey: Rkey
    cid: Cid
    sort_at: datetime
    indexed_at: datetime
    title: str
    card: str
    search: str


@dataclass(frozen=True, slots=True)
class StatDelta:
    id: int
    likes: int
    comments: int


@dataclass(frozen=True, slots=True)
class Names:
    """The numbers of some URIs; `added` are those that got theirs just now."""

    ids: dict[AtUri, int]
    added: list[AtUri]


async def intern(conn: Connection, uris: Iterable[AtUri]) -> Names:
    """The id of each URI; one that nobody mentioned before gets one, with counters at zero."""
    wanted = sorted(uris)
    ids: dict[AtUri, int] = {}
    added: list[AtUri] = []
    while missing := [uri for uri in wanted if uri not in ids]:  # again, if another writer was quicker
        cursor = await conn.execute(_SQL["intern"], {"uris": as_json(missing)})
        for uri, id, new in await cursor.fetchall():
            ids[AtUri(uri)] = id
            if new:
                added.append(AtUri(uri))
    return Names(ids, added)


async def put(conn: Connection, rows: Sequence[TrackRow]) -> None:
    await conn.execute(_SQL["put"], {"rows": as_json(rows)})


async def remove(conn: Connection, ids: Sequence[int]) -> None:
    await conn.execute(_SQL["remove"], {"ids": list(ids)})


async def count(conn: Connection, deltas: Sequence[StatDelta]) -> None:
    await conn.execute(_SQL["count"], {"rows": as_json(deltas)})


async def count_account(conn: Connection, repo_id: int, sign: int) -> None:
    """Take everything that one account liked and commented out of the counters (-1), or back in (+1)."""
    await conn.execute(_SQL["count_account"], {"repo_id": repo_id, "sign": sign})
