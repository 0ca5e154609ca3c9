"""Table `now_playing`: what somebody listens to, as their player said last, for as long as that holds."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from lexicons.syntax import Did
from storage.postgres import Connection
from storage.queries import load
from storage.reader import Reads

_SQL = load("now_playing")

STATEMENTS = {"now_playing_of": _SQL["of"]}
TTL_S = 300


@dataclass(frozen=True, slots=True)
class Told:
    """How a client calls what it plays; looked at only where the index knows no such track."""

    track_name: str
    artist_name: str
    album_name: str | None
    image_url: str | None


@dataclass(frozen=True, slots=True)
class Playing:
    """`is_track`: the number is, or was, that of a track of ours."""

    track_id: int
    file_id: str
    told: Told
    duration_ms: int
    progress_ms: int
    is_track: bool


class NoAccount(Exception):
    """There is no such account that can be shown."""


async def of(reads: Reads, name: str) -> Playing | None:
    """What the account of this DID or handle listens to; None: nothing. Raises NoAccount."""
    rows = await reads.fetch("now_playing_of", name.encode())
    if not rows.count:
        raise NoAccount
    track_id, file_id, told, duration_ms, progress_ms, is_track = (rows.cell(0, n) for n in range(6))
    if track_id is None:
        return None
    return Playing(
        int(track_id),
        (file_id or b"").decode(),
        Told(**orjson.loads(told or b"{}")),
        int(duration_ms or 0),
        int(progress_ms or 0),
        is_track == b"t",
    )


async def put(
    conn: Connection,
    did: Did,
    *,
    track_id: int,
    file_id: str,
    told: Told,
    duration_ms: int,
    progress_ms: int,
    ttl_s: float = TTL_S,
) -> None:
    """Somebody listens to this now. No text may hold a NUL."""
    params = {"did": did, "track_id": track_id, "file_id": file_id, "told": orjson.dumps(told).decode()}
    times = {"duration_ms": duration_ms, "progress_ms": progress_ms, "ttl_s": ttl_s}
    await conn.execute(_SQL["put"], params | times)


async def erase(conn: Connection, did: Did) -> None:
    """They listen to nothing, or are deleted, in the caller's transaction."""
    await conn.execute(_SQL["erase"], {"did": did})


async def forget(conn: Connection) -> int:
    """Remove what holds no longer; how many."""
    return (await conn.execute(_SQL["forget"])).rowcount
