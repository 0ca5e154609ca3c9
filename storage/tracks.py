"""Tables `track_stat` (interned track URIs and their counters) and `track` (the projection)."""

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


async def intern(conn: Connection, uris: Iterable[AtUri]) -> dict[AtUri, int]:
    """The id of each URI; a URI that nobody mentioned before gets one, with counters at zero."""
    wanted = sorted(uris)
    cursor = await conn.execute(_SQL["find"], {"uris": as_json(wanted)})
    ids = {AtUri(uri): int(id) for uri, id in await cursor.fetchall()}
    missing = [uri for uri in wanted if uri not in ids]
    if missing:
        cursor = await conn.execute(_SQL["intern"], {"uris": as_json(missing)})
        ids.update({AtUri(uri): int(id) for uri, id in await cursor.fetchall()})
    return ids


async def put(conn: Connection, rows: Sequence[TrackRow]) -> None:
    await conn.execute(_SQL["put"], {"rows": as_json(rows)})


async def remove(conn: Connection, ids: Sequence[int]) -> None:
    await conn.execute(_SQL["remove"], {"ids": list(ids)})


async def count(conn: Connection, deltas: Sequence[StatDelta]) -> None:
    await conn.execute(_SQL["count"], {"rows": as_json(deltas)})


async def count_account(conn: Connection, repo_id: int, sign: int) -> None:
    """Take everything that one account liked and commented out of the counters (-1), or back in (+1)."""
    await conn.execute(_SQL["count_account"], {"repo_id": repo_id, "sign": sign})
