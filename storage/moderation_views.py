"""Reads of cases as people see them who decide: with the track, the matches, and what happened before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from psycopg.rows import class_row

from lexicons.subject import SubjectKind, read_subject
from lexicons.syntax import Did, Nsid, Rkey
from storage.moderation import Case
from storage.postgres import Connection
from storage.queries import load
from storage.scans import Match

_SQL = load("moderation_views")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CaseView(Case):
    """`track_id`: of a track that is in the tables; `block`: the record, as it was signed, also of one that
    is not. `unlisted`: of a track. `dominant`: what the track's newest scan takes it for. `violations`: other
    cases of the account that were found to be one. Of bytes, `area` is what we have them as, and `shown_with`
    the title of a track that plays or shows them."""

    handle: str | None
    track_id: int | None
    block: bytes | None
    unlisted: bool
    dominant: Match | None
    dominant_share: float | None
    violations: int
    area: str | None = None
    shown_with: str | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """A scan that found something, of the bytes with this hash, which the track plays now if `is_current`."""

    id: int
    sha256: str
    matches: tuple[Match, ...]
    dominant: Match
    dominant_share: float
    scanned_at: datetime
    is_current: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """Hashes of what a track plays and shows, or of bytes that are one of both, as far as we have that."""

    sha256: str | None = None
    cover: str | None = None


@dataclass(frozen=True, slots=True)
class _Bytes:
    id: int
    area: str
    title: str | None


@dataclass(frozen=True, slots=True)
class Happened:
    """A line of the log. `actor_handle`: where the actor is an account that we know."""

    id: int
    at: datetime
    case_id: int | None
    action: str
    actor: str
    proof: str
    reason: str | None
    resolution: str | None
    note: str | None
    actor_handle: str | None


async def summary(conn: Connection) -> dict[str, int]:
    """Cases by resolution, and `open` ones; none that is 0."""
    return dict(await (await conn.execute(_SQL["summary"])).fetchall())


async def queue(conn: Connection, track: Nsid, *, after: int | None, limit: int) -> list[CaseView]:
    """Open cases, those that wait longest first, after the case with this id. `track`: the collection."""
    return await _views(conn, track, "queue", {"after": after, "limit": limit})


async def decided(conn: Connection, track: Nsid, *, before: int | None, limit: int) -> list[CaseView]:
    """The newest first, before this id."""
    return await _views(conn, track, "decided", {"before": before, "limit": limit})


async def others(conn: Connection, track: Nsid, case: CaseView) -> list[CaseView]:
    """The newest of the same account."""
    return await _views(conn, track, "others", {"did": case.did, "id": case.id})


async def one(conn: Connection, track: Nsid, id: int) -> CaseView | None:
    found = await _by_ids(conn, track, [id])
    return found[0] if found else None


async def flag(conn: Connection, did: Did, rkey: Rkey) -> Flag | None:
    """The newest of a track."""
    found = await _rows(conn, "flag", {"did": did, "rkey": rkey}, Flag)
    return found[0] if found else None


async def tracks(conn: Connection, flag: Flag) -> dict[tuple[Did, Rkey], int]:
    """Ids of the tracks here that a scan found, as far as they are in the tables."""
    named = {(each.did, each.rkey) for each in flag.matches if each.did is not None}
    asked = msgspec.json.encode([{"did": did, "rkey": rkey} for did, rkey in named]).decode()
    rows = await (await conn.execute(_SQL["tracks"], {"tracks": asked})).fetchall()
    return {(Did(did), Rkey(rkey)): int(id) for did, rkey, id in rows}


async def shown(conn: Connection, did: Did, rkey: Rkey) -> Shown:
    """Of a track, whether it is in sight or not."""
    found = await _rows(conn, "shown", {"did": did, "rkey": rkey}, Shown)
    return found[0] if found else Shown()


async def shown_bytes(conn: Connection, sha256: str) -> Shown:
    """Of bytes with this hash, as what we have them."""
    found = await _rows(conn, "shown_bytes", {"sha256": sha256}, Shown)
    return found[0] if found else Shown()


async def history(conn: Connection, subject: str) -> list[Happened]:
    """The oldest first."""
    async with conn.cursor(row_factory=class_row(Happened)) as cursor:
        await cursor.execute(_SQL["history"], {"subject": subject})
        return await cursor.fetchall()


async def following(conn: Connection, id: int) -> int | None:
    """The open case after this one, behind the last the first; None: there is no other."""
    row = await (await conn.execute(_SQL["following"], {"id": id})).fetchone()
    return None if row is None else int(row[0])


async def _views(conn: Connection, track: Nsid, name: str, params: Mapping[str, Any]) -> list[CaseView]:
    ids = [row[0] for row in await (await conn.execute(_SQL[name], params)).fetchall()]
    return await _by_ids(conn, track, ids)


async def _by_ids(conn: Connection, track: Nsid, ids: Sequence[int]) -> list[CaseView]:
    found = {view.id: view for view in await _rows(conn, "views", {"ids": ids, "track": track}, CaseView)}
    subjects = {id: read_subject(view.subject) for id, view in found.items()}
    asked = [
        {"id": id, "did": subject.did, "sha256": subject.sha256}
        for id, subject in subjects.items()
        if subject.kind is SubjectKind.BLOB
    ]
    if asked:
        for told in await _rows(conn, "bytes", {"bytes": msgspec.json.encode(asked).decode()}, _Bytes):
            found[told.id] = replace(found[told.id], area=told.area, shown_with=told.title)
    return [found[id] for id in ids if id in found]


async def _rows(conn: Connection, name: str, params: Mapping[str, Any], shape: type[T]) -> list[T]:
    cursor = await conn.execute(_SQL[name], params)
    names = [column.name for column in cursor.description or ()]
    return [msgspec.convert(dict(zip(names, row, strict=True)), shape) for row in await cursor.fetchall()]
