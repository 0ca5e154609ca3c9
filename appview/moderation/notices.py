"""Notices: somebody claims that what is shown here is theirs, and what its author may answer.

    notice ─▶ received ──violation, takedown──▶ upheld ──counter-notice──▶ countered ──▶ restored, in time
                 └──any other resolution──▶ rejected                            └──suit──▶ sued

Contract: a notice takes nothing down; it opens a case, which is to be decided by its `due`. A counter-notice
answers every notice that was upheld, and says when the subject comes back: after so many business days,
unless the claimant goes to court before, or another notice stands against it. Business days are Monday to
Friday in UTC; which of them are holidays differs from place to place, and is not known here. A restore at any
time ends them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from appview.moderation.actions import COPYRIGHT, NOTICE_MOVES, Action, IllegalMove
from appview.moderation.cases import PLYR, open_case
from appview.moderation.decisions import Decision, Policy, decide
from lexicons.subject import Subject, read_subject
from storage import moderation as rows
from storage.moderation import Event, NoticeState, OpenedBy, Proof, Resolution
from storage.postgres import Connection

_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """`claimant`: who, and how they are reached. `statement`: what they say."""

    subject: Subject
    claimant: str
    statement: str


def business_days_after(start: datetime, days: int) -> datetime:
    """The same time of day, so many days from Monday to Friday later."""
    at = start
    while days:
        at += timedelta(days=1)
        days -= at.weekday() < 5
    return at


async def receive(
    conn: Connection, claim: Claim, policy: Policy, *, actor: str, proof: Proof, now: datetime | None = None
) -> int:
    """A notice is here, and a case about it; the notice's id."""
    at = now or datetime.now(UTC)
    due = business_days_after(at, policy.notice_days)
    async with conn.transaction():
        await rows.lock(conn, claim.subject)
        case_id = await open_case(
            conn, claim.subject, OpenedBy.NOTICE, actor=actor, proof=proof, reason=COPYRIGHT
        )
        id = await rows.receive(
            conn,
            claim.subject,
            case_id,
            claimant=claim.claimant,
            statement=claim.statement,
            received_at=at,
            due=due,
        )
        await rows.add_event(
            conn,
            claim.subject,
            Action.NOTICE,
            case_id=case_id,
            actor=actor,
            proof=proof,
            reason=COPYRIGHT,
            detail={"notice_id": id, "due": due.isoformat()},
        )
    return id


async def counter(
    conn: Connection,
    subject: Subject,
    answer: str,
    policy: Policy,
    *,
    actor: str,
    proof: Proof,
    now: datetime | None = None,
) -> datetime:
    """Who made it answers the notices that were upheld; when it comes back. Raises IllegalMove."""
    at = now or datetime.now(UTC)
    due = business_days_after(at, policy.counter_days)
    async with conn.transaction():
        await rows.lock(conn, subject)
        count = await rows.answer(conn, subject, answer, at=at, due=due)
        if not count:
            raise IllegalMove(await _why_not(conn, subject, NoticeState.UPHELD))
        detail = {"notices": count, "due": due.isoformat()}
        await _log(conn, subject, Action.COUNTER_NOTICE, actor, proof, detail)
    return due


async def sue(conn: Connection, subject: Subject, note: str | None, *, actor: str, proof: Proof) -> Event:
    """The claimant went to court: it stays down until somebody restores it. Raises IllegalMove."""
    async with conn.transaction():
        await rows.lock(conn, subject)
        states = sorted(NOTICE_MOVES[NoticeState.SUED])
        count = await rows.move_notices(conn, subject, states, NoticeState.SUED)
        if not count:
            raise IllegalMove(await _why_not(conn, subject, NoticeState.COUNTERED))
        return await _log(conn, subject, Action.SUIT, actor, proof, {"notices": count}, note)


async def restore_due(conn: Connection, policy: Policy, now: datetime) -> int:
    """Bring back what has waited long enough; how many that were. Each in a transaction of its own."""
    count = 0
    for text in await rows.due(conn, now, limit=_AT_ONCE):
        subject = read_subject(text)
        async with conn.transaction():
            await rows.lock(conn, subject)
            if text not in await rows.due(conn, now, limit=_AT_ONCE):
                continue  # somebody decided, or sued, since it was listed
            await _restore(conn, subject, policy)
            count += 1
    return count


async def _restore(conn: Connection, subject: Subject, policy: Policy) -> None:
    decision = Decision(
        Action.RESTORE,
        subject,
        PLYR,
        Proof.SELF,
        reason=Action.COUNTER_NOTICE,
        resolution=Resolution.NO_ACTION,
    )
    try:
        await decide(conn, decision, policy)
    except IllegalMove as error:
        # Nothing stands against it: its account is gone, and what was said of it was taken back by hand.
        states = sorted(NOTICE_MOVES[NoticeState.RESTORED])
        await rows.move_notices(conn, subject, states, NoticeState.RESTORED)
        await _log(conn, subject, Action.NOTE, PLYR, Proof.SELF, {}, str(error))


async def _why_not(conn: Connection, subject: Subject, wanted: NoticeState) -> str:
    states = [notice.state for notice in await rows.notices(conn, subject.text)]
    told = f"those about it are {', '.join(states)}" if states else "there is none about it"
    return f"no notice is {wanted}: {told}"


async def _log(
    conn: Connection,
    subject: Subject,
    action: Action,
    actor: str,
    proof: Proof,
    detail: dict[str, object],
    note: str | None = None,
) -> Event:
    case = await rows.latest(conn, subject.text)
    return await rows.add_event(
        conn,
        subject,
        action,
        case_id=None if case is None else case.id,
        actor=actor,
        proof=proof,
        note=note,
        detail=detail,
    )
