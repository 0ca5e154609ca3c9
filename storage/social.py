"""Tables `like`, `comment`, `list`, `list_item` and `profile`: projections of other people's records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from lexicons.syntax import Did, Rkey
from storage.postgres import Asked, Connection, as_json
from storage.queries import load
from storage.records import RecordKey

_SQL = load("social")


class Pair(NamedTuple):
    """An account and a track: what a like is counted by."""

    repo_id: int
    track_id: int


class LikeKey(NamedTuple):
    repo_id: int
    track_id: int
    rkey: Rkey


class RowKey(NamedTuple):
    """Key of a comment or a list."""

    repo_id: int
    rkey: Rkey


@dataclass(frozen=True, slots=True)
class LikeRow:
    repo_id: int
    track_id: int
    rkey: Rkey
    sort_at: datetime


@dataclass(frozen=True, slots=True)
class CommentRow:
    repo_id: int
    rkey: Rkey
    track_id: int
    timestamp_ms: int
    sort_at: datetime
    card: str


@dataclass(frozen=True, slots=True)
class ListRow:
    """`track_ids` maps position → track for those items that are tracks; `items` counts them all."""

    repo_id: int
    rkey: Rkey
    list_type: str | None
    name: str | None
    album_id: str | None
    items: int
    sort_at: datetime
    card: str
    track_ids: dict[int, int]


@dataclass(frozen=True, slots=True)
class ProfileRow:
    repo_id: int
    display_name: str | None
    avatar: str | None
    bio: str | None
    created_at: datetime | None
    card: str
    search: str


async def ask_likes(conn: Connection, pairs: Iterable[Pair]) -> Asked[dict[Pair, set[Rkey]]]:
    """The rkeys under which these accounts like these tracks; pairs without a like are left out."""
    keys = as_json([{"repo_id": p.repo_id, "track_id": p.track_id} for p in pairs])
    return Asked(await conn.execute(_SQL["likes_of"], {"pairs": keys}), _likes)


def _likes(rows: Sequence[tuple[int, int, Rkey]]) -> dict[Pair, set[Rkey]]:
    found: dict[Pair, set[Rkey]] = {}
    for repo_id, track_id, rkey in rows:
        found.setdefault(Pair(repo_id, track_id), set()).add(rkey)
    return found


async def add_likes(conn: Connection, rows: Sequence[LikeRow]) -> None:
    await conn.execute(_SQL["add_likes"], {"rows": as_json(rows)})


async def remove_likes(conn: Connection, keys: Iterable[LikeKey]) -> None:
    await conn.execute(_SQL["remove_likes"], {"keys": as_json([key._asdict() for key in keys])})


async def seat_comment(conn: Connection, key: RecordKey) -> None:
    """A row under the number that this comment had before it was taken down; `put_comments` fills it."""
    await conn.execute(_SQL["seat_comment"], key._asdict())


async def seat_list(conn: Connection, key: RecordKey) -> None:
    """Likewise, for `put_lists`."""
    await conn.execute(_SQL["seat_list"], key._asdict())


async def put_comments(conn: Connection, rows: Sequence[CommentRow]) -> None:
    await conn.execute(_SQL["put_comments"], {"rows": as_json(rows)})


async def remove_comments(conn: Connection, keys: Iterable[RowKey]) -> None:
    await conn.execute(_SQL["remove_comments"], {"keys": as_json([key._asdict() for key in keys])})


async def put_lists(conn: Connection, rows: Sequence[ListRow]) -> dict[RowKey, int]:
    """Returns the numbers of those that are new."""
    columns = [
        {
            "repo_id": r.repo_id,
            "rkey": r.rkey,
            "list_type": r.list_type,
            "name": r.name,
            "album_id": r.album_id,
            "items": r.items,
            "sort_at": r.sort_at,
            "card": r.card,
        }
        for r in rows
    ]
    cursor = await conn.execute(_SQL["put_lists"], {"rows": as_json(columns)})
    found = await cursor.fetchall()
    ids = {RowKey(repo_id, Rkey(rkey)): id for id, repo_id, rkey, _ in found}
    items = [
        {"list_id": ids[RowKey(r.repo_id, r.rkey)], "position": position, "track_id": track_id}
        for r in rows
        for position, track_id in r.track_ids.items()
    ]
    await conn.execute(_SQL["clear_lists"], {"ids": sorted(ids.values())})
    if items:
        await conn.execute(_SQL["add_list_items"], {"rows": as_json(items)})
    return {RowKey(repo_id, Rkey(rkey)): id for id, repo_id, rkey, added in found if added}


async def unnamed_albums(conn: Connection, limit: int) -> list[tuple[int, Did, str]]:
    """Some of the lists that lack an `album_id`, since they are older than it: number, account, name. Locked
    until the transaction ends."""
    cursor = await conn.execute(_SQL["unnamed_albums"], {"limit": limit})
    return [(id, Did(did), name) for id, did, name in await cursor.fetchall()]


async def name_albums(conn: Connection, ids: Mapping[int, str]) -> None:
    """Their `album_id`s, by number."""
    rows = [{"id": id, "album_id": album_id} for id, album_id in ids.items()]
    await conn.execute(_SQL["name_albums"], {"rows": as_json(rows)})


async def remove_lists(conn: Connection, keys: Iterable[RowKey]) -> None:
    await conn.execute(_SQL["remove_lists"], {"keys": as_json([key._asdict() for key in keys])})


async def put_profiles(conn: Connection, rows: Sequence[ProfileRow]) -> None:
    await conn.execute(_SQL["put_profiles"], {"rows": as_json(rows)})
