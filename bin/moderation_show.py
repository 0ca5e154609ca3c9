"""`plyr moderation show`: everything about a subject: its cases, notices, labels, and who did what."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg

from appview.moderation.actions import NotKnown
from bin.moderation_choice import BadSubject, add_subject, subject_of
from bin.settings import Settings
from storage import labels
from storage import moderation as rows
from storage.moderation import Case, Event, Notice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON object")


@dataclass(frozen=True, slots=True)
class Shown:
    """`events`: newest first. `down`, `unlisted`: why the subject is. `strikes`: of its account. `labels`: of
    ours, that hold."""

    subject: str
    did: str
    known: bool
    down: str | None
    unlisted: str | None
    strikes: int
    case: Case | None
    notices: list[Notice]
    labels: list[str]
    events: list[Event]


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        shown = asyncio.run(_ask(args.subject, settings))
    except NotKnown as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    except BadSubject as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(lines(shown)))
    return 0


async def _ask(text: str, settings: Settings) -> Shown:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        subject = await subject_of(conn, text)
        stands = await rows.standing(conn, subject)
        active = await labels.active(conn, [subject.text], [settings.service_did])
        return Shown(
            subject=subject.text,
            did=subject.did,
            known=stands.known,
            down=stands.down,
            unlisted=stands.unlisted,
            strikes=await rows.strikes(conn, subject.did),
            case=await rows.latest(conn, subject.text),
            notices=await rows.notices(conn, subject.text),
            labels=[each.val for each in active],
            events=await rows.history(conn, subject.text),
        )


def lines(shown: Shown) -> Iterator[str]:
    yield shown.subject
    if not shown.known:
        yield "  is not known here"
    told: list[tuple[str, Any]] = [
        ("down", shown.down),
        ("unlisted", shown.unlisted),
        ("labels", ", ".join(shown.labels) or None),
        ("case", None if shown.case is None else _case(shown.case)),
        ("strikes", f"{shown.strikes:,} of {shown.did}" if shown.strikes else None),
    ]
    for name, value in told:
        if value is not None:
            yield f"  {name:<8} {value}"
    for notice in shown.notices:
        due = "" if notice.due is None else f", due {notice.due:%Y-%m-%d %H:%M} UTC"
        yield f"  notice   {notice.id}: {notice.state}{due}; of {notice.claimant}: {notice.statement}"
        if notice.answer is not None:
            yield f"           answered: {notice.answer}"
    for event in shown.events:
        detail = " ".join(f"{key}={value}" for key, value in sorted(event.detail.items()))
        parts = (
            f"{event.id:>8}  {event.at:%Y-%m-%d %H:%M:%S}  {event.action:<14}",
            f"{event.actor} ({event.proof})",
            event.reason or "",
            detail,
            "" if event.note is None else f'"{event.note}"',
        )
        yield "  ".join(part for part in parts if part)


def _case(case: Case) -> str:
    if case.resolved_at is None:
        return f"{case.id}: open since {case.opened_at:%Y-%m-%d %H:%M} UTC, by {case.opened_by}"
    return f"{case.id}: {case.resolution}, by {case.resolved_by} at {case.resolved_at:%Y-%m-%d %H:%M} UTC"
