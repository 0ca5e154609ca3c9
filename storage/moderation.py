"""Tables `moderation_case`, `moderation_event` and `moderation_notice`: what is judged, by whom, and why.

The log is only ever added to: Postgres refuses anything else. A subject has one open case at most, and its
newest case is that one. Everything that decides holds `lock` of the subject until its commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from lexicons.subject import Subject, SubjectKind
from lexicons.syntax import Did
from storage.postgres import Connection
from storage.queries import load

_SQL = load("moderation")
_NEWEST = 2**62  # above every id


class OpenedBy(StrEnum):
    """STRIKES: one account has come to so many violations that somebody has to look at it."""

    SCAN = "scan"
    REPORT = "report"
    NOTICE = "notice"
    APPEAL = "appeal"
    HAND = "hand"
    STRIKES = "strikes"


class Resolution(StrEnum):
    """NO_ACTION: nothing was made of it, or what was made of it is taken back without a judgement."""

    VIOLATION = "violation"
    FALSE_POSITIVE = "false_positive"
    ORIGINAL_ARTIST = "original_artist"
    NO_ACTION = "no_action"


class Proof(StrEnum):
    """How we know who did something. COMMAND: from the command line. SELF: nobody did, plyr by itself."""

    SESSION = "session"
    SERVICE = "service"
    KEY = "key"
    COMMAND = "command"
    SELF = "self"


class NoticeState(StrEnum):
    RECEIVED = "received"
    UPHELD = "upheld"
    REJECTED = "rejected"
    COUNTERED = "countered"
    SUED = "sued"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Case:
    """`state`: open or resolved. `did`: whose the subject is."""

    id: int
    subject: str
    did: Did
    opened_by: str
    state: str
    reason: str | None
    resolution: str | None
    opened_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the log. `actor`: a DID, `operator` or `plyr`; `note` is never shown in public."""

    id: int
    at: datetime
    case_id: int | None
    subject: str
    did: Did
    action: str
    actor: str
    proof: str
    reason: str | None
    note: str | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """`due`: received, when it is to be decided; countered, when the subject comes back."""

    id: int
    case_id: int
    subject: str
    did: Did
    claimant: str
    statement: str
    state: str
    received_at: datetime
    answer: str | None
    answered_at: datetime | None
    due: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Open cases, since when the first of them is, and notices whose decision is late."""

    open: int
    since: datetime | None
    late: int


async def lock(conn: Connection, subject: Subject) -> None:
    """Wait for everybody else who judges this subject, until the end of the transaction."""
    await conn.execute(_SQL["lock"], {"subject": subject.text})


class Stands(NamedTuple):
    """Whether an account, a record or bytes are known here, why they are down, and why a track is listed
    nowhere, if it is so."""

    known: bool
    down: str | None = None
    unlisted: str | None = None


async def standing(conn: Connection, subject: Subject) -> Stands:
    """How an account, a record or bytes stand."""
    if subject.kind is SubjectKind.BLOB:
        blob = {"did": subject.did, "cid": subject.cid, "sha256": subject.sha256}
        row = await (await conn.execute(_SQL["standing_of_bytes"], blob)).fetchone()
        return Stands(known=False) if row is None else Stands(True, row[0])
    collection, rkey = None, None
    if subject.kind is SubjectKind.RECORD:
        _, collection, rkey = subject.text.removeprefix("at://").split("/")
    params = {"did": subject.did, "collection": collection, "rkey": rkey}
    row = await (await conn.execute(_SQL["standing"], params)).fetchone()
    return Stands(False) if row is None else Stands(True, *row)


async def violated(conn: Connection, subject: Subject) -> bool:
    """Whether a case of this subject ended as a violation, and was not taken back."""
    row = await (await conn.execute(_SQL["violated"], {"subject": subject.text})).fetchone()
    return row is not None and bool(row[0])


async def case(conn: Connection, id: int) -> Case | None:
    return await _one_case(conn, "case", {"id": id})


async def latest(conn: Connection, subject: str) -> Case | None:
    """The open case of a subject, else the one that was opened last."""
    return await _one_case(conn, "latest", {"subject": subject})


async def listed(
    conn: Connection,
    *,
    state: str | None = None,
    did: str | None = None,
    beyond: int | None = None,
    limit: int = 50,
) -> list[Case]:
    """Open ones oldest first, any others newest first, those after case `beyond` in that order."""
    params = {"state": state, "did": did, "beyond": beyond, "limit": limit}
    async with conn.cursor(row_factory=class_row(Case)) as cursor:
        await cursor.execute(_SQL["listed"], params)
        return await cursor.fetchall()


async def open(conn: Connection, subject: Subject, opened_by: OpenedBy, reason: str | None) -> Case:
    """A new case; there must be no open one."""
    params = {"subject": subject.text, "did": subject.did, "opened_by": opened_by, "reason": reason}
    found = await _one_case(conn, "open", params)
    assert found is not None
    return found


async def reopen(conn: Connection, id: int) -> None:
    await conn.execute(_SQL["reopen"], {"id": id})


async def resolve(conn: Connection, id: int, resolution: Resolution, reason: str | None, by: str) -> None:
    await conn.execute(_SQL["resolve"], {"id": id, "resolution": resolution, "reason": reason, "by": by})


async def clear(conn: Connection, subject: Subject, resolution: Resolution, by: str) -> list[int]:
    """Resolve so what is open and what ended as a violation; the cases' ids."""
    params = {"subject": subject.text, "resolution": resolution, "by": by}
    return [row[0] for row in await (await conn.execute(_SQL["clear"], params)).fetchall()]


async def strikes(conn: Connection, did: Did) -> int:
    """How many violations of copyright are counted against an account."""
    row = await (await conn.execute(_SQL["strikes"], {"did": did})).fetchone()
    assert row is not None
    return int(row[0])


async def waiting(conn: Connection) -> Waiting:
    async with conn.cursor(row_factory=class_row(Waiting)) as cursor:
        await cursor.execute(_SQL["counts"])
        found = await cursor.fetchone()
        assert found is not None
        return found


async def add_event(
    conn: Connection,
    subject: Subject,
    action: str,
    *,
    case_id: int | None,
    actor: str,
    proof: Proof,
    reason: str | None = None,
    note: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Event:
    params = {
        "case_id": case_id, "subject": subject.text, "did": subject.did, "action": action, "actor": actor,
        "proof": proof, "reason": reason, "note": note, "detail": Jsonb(detail or {}),
    }  # fmt: skip
    (found,) = await _events(conn, "add_event", params)
    return found


async def events(conn: Connection, case_id: int) -> list[Event]:
    """What happened to a case, oldest first."""
    return await _events(conn, "events", {"case_id": case_id})


async def history(conn: Connection, subject: str, *, before: int = _NEWEST, limit: int = 50) -> list[Event]:
    """What happened to a subject, newest first."""
    return await _events(conn, "history", {"subject": subject, "before": before, "limit": limit})


async def later(conn: Connection, subject: str, seen: int, actions: Sequence[str]) -> Event | None:
    """The newest of these actions after event `seen`."""
    params = {"subject": subject, "seen": seen, "actions": list(actions)}
    return next(iter(await _events(conn, "later", params)), None)


async def flags(conn: Connection, case_ids: Sequence[int]) -> list[int]:
    """Ids of the scans that cases are about."""
    cursor = await conn.execute(_SQL["flags"], {"case_ids": list(case_ids)})
    return [row[0] for row in await cursor.fetchall()]


async def notices(conn: Connection, subject: str) -> list[Notice]:
    """About a subject, oldest first."""
    async with conn.cursor(row_factory=class_row(Notice)) as cursor:
        await cursor.execute(_SQL["notices"], {"subject": subject})
        return await cursor.fetchall()


async def receive(
    conn: Connection,
    subject: Subject,
    case_id: int,
    *,
    claimant: str,
    statement: str,
    received_at: datetime,
    due: datetime,
) -> int:
    """A notice's id."""
    params = {
        "case_id": case_id, "subject": subject.text, "did": subject.did, "claimant": claimant,
        "statement": statement, "received_at": received_at, "due": due,
    }  # fmt: skip
    row = await (await conn.execute(_SQL["receive"], params)).fetchone()
    assert row is not None
    return int(row[0])


async def answer(conn: Connection, subject: Subject, text: str, *, at: datetime, due: datetime) -> int:
    """Answer what was upheld; how many notices that is."""
    params = {"subject": subject.text, "answer": text, "answered_at": at, "due": due}
    return (await conn.execute(_SQL["answer"], params)).rowcount


async def move_notices(
    conn: Connection, subject: Subject, states: Sequence[NoticeState], to: NoticeState
) -> int:
    """How many notices about a subject were in one of the states, and are in the other now."""
    params = {"subject": subject.text, "states": list(states), "state": to}
    return (await conn.execute(_SQL["move"], params)).rowcount


async def due(conn: Connection, now: datetime, *, limit: int) -> list[str]:
    """Subjects whose counter-notice has waited long enough."""
    return [
        row[0] for row in await (await conn.execute(_SQL["due"], {"now": now, "limit": limit})).fetchall()
    ]


async def _one_case(conn: Connection, name: str, params: Mapping[str, Any]) -> Case | None:
    async with conn.cursor(row_factory=class_row(Case)) as cursor:
        await cursor.execute(_SQL[name], params)
        return await cursor.fetchone()


async def _events(conn: Connection, name: str, params: Mapping[str, Any]) -> list[Event]:
    async with conn.cursor(row_factory=class_row(Event)) as cursor:
        await cursor.execute(_SQL[name], params)
        return await cursor.fetchall()
