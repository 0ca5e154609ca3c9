"""Table `copyright_scan`: whose recordings the sound of a track is taken for, by whoever was asked.

    (no row) ──▶ ok ──▶ ok | error      a verdict. One that is flagged stays, for a person to judge; another
       │                                is the last once AuDD and our own scanner were asked
       ├──▶ error ──▶ ok | error | off  due again at `due`, later each time
       └──▶ off ───▶ ok | error         there was nobody to ask; due as soon as there is

A row is of a track and the bytes that were scanned. What a track plays now and has no row with a verdict is
unscanned: nothing is lost by a job that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    ScanState.OK: frozenset({ScanState.OK, ScanState.ERROR}),  # the latter until AuDD has answered
    ScanState.ERROR: frozenset({ScanState.OK, ScanState.ERROR, ScanState.OFF}),
    ScanState.OFF: frozenset({ScanState.OK, ScanState.ERROR, ScanState.OFF}),
}


class Resolution(StrEnum):
    """What a person made of a verdict that is flagged."""

    PENDING = "pending"
    VIOLATION = "violation"
    FALSE_POSITIVE = "false_positive"
    ORIGINAL_ARTIST = "original_artist"
    NO_ACTION = "no_action"


class ErrorKind(StrEnum):
    """AWAY: no answer. QUOTA: no more answers for now. TOKEN: ours is not taken. SOUND: it could not be read
    there. ANSWER: none that we understand."""

    AWAY = "away"
    QUOTA = "quota"
    TOKEN = "token"
    SOUND = "sound"
    ANSWER = "answer"


class Source(StrEnum):
    """Who says so. PLYR: our own scanner, which knows the tracks that are here."""

    AUDD = "audd"
    PLYR = "plyr"


@dataclass(frozen=True, slots=True)
class Match:
    """A recording that a part of the sound is taken for. `timecode`: where in that recording; `offset_ms`:
    where in ours. Of a track that is here: whose it is, for how long, and how sure that is (0.5 to 1)."""

    artist: str
    title: str
    album: str | None = None
    isrc: str | None = None
    timecode: str | None = None
    offset_ms: int | None = None
    score: int = 0
    source: Source = Source.AUDD
    did: Did | None = None
    rkey: Rkey | None = None
    length_ms: int | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`dominant`: what most of the matched parts are taken for, `dominant_share` of them (0 to 1). `raw`:
    AuDD's answer as it came. `asked`: who said so."""

    matches: tuple[Match, ...]
    dominant: Match | None
    dominant_share: float | None
    raw: str | None
    asked: tuple[Source, ...] = (Source.AUDD,)

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
    asked: tuple[Source, ...]
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
    conn: Connection,
    *,
    kind: str,
    limit: int | None,
    audd: bool,
    undue: bool = False,
    max_s: float | None = None,
) -> list[Target]:
    """Tracks in sight about whose sound somebody can be asked who was not yet: AuDD, where `audd`, and our
    own scanner, where there is a fingerprint. Not those that are flagged or that a job of this kind is about;
    `undue`: also those whose next attempt is later. No longer than `max_s`, where that is said."""
    params = {"kind": kind, "limit": limit, "audd": audd, "undue": undue, "max_s": max_s}
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
    """What AuDD last said of these bytes, of whatever track they are."""
    row = await (await conn.execute(_SQL["answered"], {"sha256": sha256})).fetchone()
    if row is None:
        return None
    found = msgspec.convert(dict(zip(_VERDICT, row, strict=True)), Verdict)
    matches = tuple(each for each in found.matches if each.source is Source.AUDD)
    # Where AuDD matched anything, what is dominant is by AuDD, too.
    return replace(found, matches=matches) if matches else Verdict((), None, None, found.raw)


async def fingerprint(conn: Connection, blob_id: int) -> bytes | None:
    """Of a sound, for our own scanner; None: it was not analysed."""
    row = await (await conn.execute(_SQL["fingerprint"], {"blob_id": blob_id})).fetchone()
    return None if row is None or row[0] is None else bytes(row[0])


async def named(conn: Connection, tracks: Sequence[tuple[Did, Rkey]]) -> list[tuple[str, str]]:
    """Artist and title of each, as a person knows them, in the same order."""
    params = {"dids": [did for did, _ in tracks], "rkeys": [rkey for _, rkey in tracks]}
    rows = await (await conn.execute(_SQL["named"], params)).fetchall()
    names = {(did, rkey): (artist, title) for did, rkey, artist, title in rows}
    return [names[track] for track in tracks]


async def settle(conn: Connection, target: Target, verdict: Verdict) -> int | None:
    """The row's id, whose verdict this is now. None: it has one already, which stays, or the account is not
    known any more. One that is clear is replaced where somebody else was asked."""
    params = _of(target) | {
        "matches": _json(verdict.matches),
        "dominant": None if verdict.dominant is None else _json(verdict.dominant),
        "dominant_share": verdict.dominant_share,
        "asked": list(verdict.asked),
        "raw": verdict.raw,
        "is_flagged": verdict.is_flagged,
    }
    row = await (await conn.execute(_SQL["settle"], params)).fetchone()
    return None if row is None else int(row[0])


async def fail(
    conn: Connection, target: Target, kind: ErrorKind, error: str, *, wait_s: float, raw: str | None = None
) -> None:
    """No answer of AuDD, and when it is due again. One that is there stays, and what is flagged."""
    params = {"error_kind": kind, "error": error, "wait_s": wait_s, "raw": raw}
    await conn.execute(_SQL["fail"], _of(target) | params)


async def leave(conn: Connection, target: Target) -> None:
    """There is nobody to ask."""
    await conn.execute(_SQL["leave"], _of(target))


async def review(
    conn: Connection, ids: Sequence[int], resolution: Resolution, by: str, notes: str | None
) -> None:
    """What a person made of these verdicts, in the transaction of the decision."""
    params = {"ids": list(ids), "resolution": resolution, "by": by, "notes": notes}
    await conn.execute(_SQL["review"], params)


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
