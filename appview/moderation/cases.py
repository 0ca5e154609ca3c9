"""Cases: what a person has to look at, whoever brought it up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appview.moderation.actions import COPYRIGHT, Action
from appview.moderation.scanning import Flagged, OnFlag
from lexicons.subject import Subject, read_subject
from lexicons.syntax import Nsid
from storage import moderation as rows
from storage.moderation import OpenedBy, Proof
from storage.postgres import Connection
from storage.scans import Match, Source

PLYR = "plyr"


async def open_case(
    conn: Connection,
    subject: Subject,
    opened_by: OpenedBy,
    *,
    actor: str,
    proof: Proof,
    reason: str | None = None,
    note: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> int:
    """The open case of the subject, which is made if there is none, with this in its log; in the caller's
    transaction. Its reason is that of who opened it. The case's id."""
    async with conn.transaction():
        await rows.lock(conn, subject)
        case = await rows.latest(conn, subject.text)
        if case is None or case.state != "open":
            case = await rows.open(conn, subject, opened_by, reason)
        await rows.add_event(
            conn,
            subject,
            Action.OPEN,
            case_id=case.id,
            actor=actor,
            proof=proof,
            reason=reason,
            note=note,
            detail={**(detail or {}), "opened_by": opened_by},
        )
        return case.id


def for_flagged(collection: Nsid) -> OnFlag:
    """What opens a case about the track, in this collection, whose scan is flagged."""

    async def on_flag(conn: Connection, flagged: Flagged) -> None:
        target, dominant = flagged.target, flagged.verdict.dominant
        assert dominant is not None
        await open_case(
            conn,
            read_subject(f"at://{target.did}/{collection}/{target.rkey}"),
            OpenedBy.SCAN,
            actor=PLYR,
            proof=Proof.SELF,
            reason=COPYRIGHT,
            detail={
                "scan_id": flagged.scan_id,
                "match": _named(dominant, collection),
                "share": flagged.verdict.dominant_share,
            },
        )

    return on_flag


def _named(match: Match, collection: Nsid) -> str:
    """Of a track that is here no title and no name: the log outlives those who ask to be forgotten."""
    if match.source is Source.AUDD:
        return f"{match.title} by {match.artist}"
    return f"at://{match.did}/{collection}/{match.rkey}"
