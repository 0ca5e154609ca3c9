"""Table `copyright_scan`: whose recordings the sound of a track is taken for, by whoever was asked.

    (no row) ──▶ ok                     a verdict: of these bytes it is the last, and a person may judge it
       ├──▶ error ──▶ ok | error | off  due again at `due`, later each time
       └──▶ off ───▶ ok | error         there was nobody to ask; due as soon as there is

A row is of a track and the bytes that were scanned. What a track plays now and has no row with a verdict is
unscanned: nothing is lost by a job that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from psycopg.rows import class_row

from lexicons.syntax import Did, Rkey
from storage.postgres import Connection
from storage.queries import load

_SQL = load("scans")


class ScanState(StrEnum):
    OK = "ok"
    ERROR = "error"
    OFF = "off"


MOVES: dict[ScanState, frozenset[ScanState]] = {
    ScanState.OK: frozenset(),
    ScanState.ERROR: frozenset({ScanState.OK, ScanState.ERROR, ScanState.OFF}),
    ScanState.OFF: frozenset({ScanState.OK, ScanState.ERROR, ScanState.OFF}),
}


class Resolution(StrEnum):
    """What a person made of a verdict that is flagged."""

    PENDING = "pending"
    VIOLATION = "violation"
    FALSE_POSITIVE = "false_positive"
    ORIGINAL_ARTIST = "original_artist"


class ErrorKind(StrEnum):
    """AWAY: no answer. QUOTA: no more answers for now. TOKEN: ours is not taken. SOUND: it could not be read
    there. ANSWER: none that we understand."""

    AWAY = "away"
    QUOTA = "quota"
    TOKEN = "token"
    SOUND = "sound"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Match:
    """A recording that a part of the sound is taken for. `timecode`: where in that recording; `offset_ms`:
    where in ours."""

    artist: str
    title: str
    album: str | None = None
    isrc: str | None = None
    timecode: str | None = None
    offset_ms: int | None = None
    score: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`dominant`: what most of the matched parts are taken for, `dominant_share` of them (0 to 1). `raw`: the
    answer as it came."""

    matches: tuple[Match, ...]
    dominant: Match | None
    dominant_share: float | None
    raw: str

    @property
    def is_flagged(self) -> bool:
        """Anything matched: there is no threshold."""
        return bool(self.matches)


@dataclass(frozen=True, slots=True)
class Target:
    """A track and what it plays: `sha256` in hex. `attempts` to scan it came to nothing."""

    did: Did
    rkey: Rkey
    blob_id: int
    sha256: str
    duration_s: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Scan:
    """A row."""

    id: int
    did: Did
    rkey: Rkey
    sha256: str
    blob_id: int | None
    state: ScanState
    matches: tuple[Match, ...]
    dominant: Match | None
    dominant_share: float | None
    raw: str | None
    is_flagged: bool
    resolution: Resolution | None
    reviewed_at: datetime | None
    reviewed_by: str | None
    review_notes: str | None
    error: str | None
    error_kind: ErrorKind | None
    attempts: int
    due: datetime | None
    scanned_at: datetime | None


async def unscanned(
    conn: Connection, *, kind: str, limit: int | None, undue: bool = False, max_s: float | None = None
) -> list[Target]:
    """Tracks in sight without a verdict about what they play, and without a job of this kind; `undue`: also
    those whose next attempt is later. No longer than `max_s`, where that is said."""
    params = {"kind": kind, "limit": limit, "undue": undue, "max_s": max_s}
    async with conn.cursor(row_factory=class_row(Target)) as cursor:
        await cursor.execute(_SQL["unscanned"], params)
        return await cursor.fetchall()


async def playing(conn: Connection, did: Did, rkey: Rkey) -> Target | None:
    """None: there is no such track in sight, or we have no sound of it."""
    async with conn.cursor(row_factory=class_row(Target)) as cursor:
        await cursor.execute(_SQL["playing"], {"did": did, "rkey": rkey})
        return await cursor.fetchone()


async def get(conn: Connection, did: Did, rkey: Rkey, sha256: str) -> Scan | None:
    """What is known of a track with these bytes."""
    cursor = await conn.execute(_SQL["get"], {"did": did, "rkey": rkey, "sha256": sha256})
    row = await cursor.fetchone()
    if row is None:
        return None
    names = [column.name for column in cursor.description or ()]
    return msgspec.convert(dict(zip(names, row, strict=True)), Scan)


async def answered(conn: Connection, sha256: str) -> Verdict | None:
    """The newest verdict about these bytes, of whatever track."""
    row = await (await conn.execute(_SQL["answered"], {"sha256": sha256})).fetchone()
    return None if row is None else msgspec.convert(dict(zip(_VERDICT, row, strict=True)), Verdict)


async def settle(conn: Connection, target: Target, verdict: Verdict) -> int | None:
    """The row's id, whose verdict this is now. None: it has one already, which stays, or the account is not
    known any more."""
    params = _of(target) | {
        "matches": _json(verdict.matches),
        "dominant": None if verdict.dominant is None else _json(verdict.dominant),
        "dominant_share": verdict.dominant_share,
        "raw": verdict.raw,
        "is_flagged": verdict.is_flagged,
    }
    row = await (await conn.execute(_SQL["settle"], params)).fetchone()
    return None if row is None else int(row[0])


async def fail(
    conn: Connection, target: Target, kind: ErrorKind, error: str, *, wait_s: float, raw: str | None = None
) -> None:
    """No verdict, and when it is due again. One that is there stays."""
    params = {"error_kind": kind, "error": error, "wait_s": wait_s, "raw": raw}
    await conn.execute(_SQL["fail"], _of(target) | params)


async def leave(conn: Connection, target: Target) -> None:
    """There is nobody to ask."""
    await conn.execute(_SQL["leave"], _of(target))


async def refused_until(conn: Connection) -> datetime | None:
    """Until when nobody need be asked, as no more is answered; None: it is, for all we know."""
    row = await (await conn.execute(_SQL["refused_until"])).fetchone()
    return None if row is None else row[0]


async def counts(conn: Connection) -> dict[str, int]:
    """By state, and of what is flagged by resolution instead; none that is 0."""
    return dict(await (await conn.execute(_SQL["counts"])).fetchall())


_VERDICT = ("matches", "dominant", "dominant_share", "raw")


def _of(target: Target) -> dict[str, Any]:
    return {
        "did": target.did, "rkey": target.rkey, "sha256": target.sha256, "blob_id": target.blob_id,
    }  # fmt: skip


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
