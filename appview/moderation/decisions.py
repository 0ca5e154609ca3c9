"""Decisions: what a person made of a case, and all that follows.

    Decision ─▶ lock of the subject ─▶ may it be done now? ─▶ effect on the tables ─▶ case, notices, scans
             ─▶ log ─▶ label, signed ─▶ commit

Contract: all of it is one transaction. Killed anywhere, a decision, its effect and its label are all there or
none is. Of two who decide at once about one subject the second sees what the first decided, and is refused
where that leaves nothing to decide, or where it came after what the second says to have seen.

Of a subject that is down or labelled so the newest word is always a violation: whatever says otherwise is a
restore, which takes back effect, label and every resolution as a violation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from appview.moderation import actions
from appview.moderation.actions import (
    COPYRIGHT,
    DECIDING,
    LISTING_MOVES,
    OTHER,
    REPEAT_INFRINGER,
    Action,
    CaseState,
    IllegalMove,
    Listing,
    NotKnown,
    Outdated,
    Standing,
)
from appview.moderation.cases import PLYR, open_case
from appview.moderation.labels import Labels, NoLabel
from indexer import sanctions
from lexicons.catalog import Catalog
from lexicons.subject import Subject, SubjectKind, read_subject
from storage import labels as label_rows
from storage import moderation as rows
from storage import scans, sensitive_images
from storage.moderation import Case, Event, NoticeState, OpenedBy, Proof, Resolution
from storage.postgres import Connection


@dataclass(frozen=True, slots=True)
class Policy:
    """What decisions follow. `labels` None: nobody is told by labels. So many `strikes` of an account open a
    case about it. A notice is to be decided within `notice_days`, and who answers one has it back after
    `counter_days`: business days."""

    catalog: Catalog
    labels: Labels | None
    strikes: int = 3
    notice_days: int = 3
    counter_days: int = 10


@dataclass(frozen=True, slots=True)
class Decision:
    """NOTE, TAKEDOWN, RESTORE, RESOLVE, DELIST, RELIST, LABEL, UNLABEL or APPEAL. `reason`: a code, of what
    is done against the subject; that of the case where it is not said. `resolution`: of RESOLVE and RESTORE.
    `val`, `exp`: of LABEL and UNLABEL. `seen`: the newest event that the actor had seen; None: they looked at
    nothing."""

    action: Action
    subject: Subject
    actor: str
    proof: Proof
    reason: str | None = None
    note: str | None = None
    resolution: Resolution | None = None
    val: str | None = None
    exp: datetime | None = None
    seen: int | None = None


async def decide(conn: Connection, decision: Decision, policy: Policy) -> Event:
    """What the log says of it, once it is done. Raises Refused: nothing is. A transaction of its own, or part
    of the caller's, which then commits soon: until then nobody else labels."""
    subject = decision.subject
    track = policy.catalog.collections.track
    actions.check_subject(decision.action, subject, decision.val, track=track)
    async with conn.transaction():
        await rows.lock(conn, subject)
        if subject.kind is not SubjectKind.ACCOUNT:
            await rows.lock(conn, read_subject(subject.did))  # its violations are counted
        case = await rows.latest(conn, subject.text)
        await _not_outdated(conn, decision)
        label = await _standing_label(conn, subject, policy)
        known, down, unlisted = await rows.standing(conn, subject)
        standing = await _standing(conn, subject, label, down)
        state = CaseState.NONE if case is None else CaseState(case.state)
        try:
            actions.move(decision.action, decision.resolution, state, standing)
        except IllegalMove as error:
            raise IllegalMove(f"{error}{_told(case)}") from None
        if decision.action is Action.TAKEDOWN and not known:
            raise NotKnown(f"{subject.text} is not known here, so there is nothing to take down")
        if decision.action in LISTING_MOVES:
            if not known:
                raise NotKnown(f"{subject.text} is not known here, so it is listed nowhere")
            listing = Listing.LISTED if unlisted is None else Listing.UNLISTED
            actions.move_listing(decision.action, listing)
        usual = OTHER if decision.action is Action.DELIST else COPYRIGHT
        reason = decision.reason or (case.reason if case else None) or usual
        return await _Move(conn, decision, policy, case, down is not None, reason, label).make()


@dataclass(slots=True)
class _Move:
    """A decision that may be made, in its transaction. `down`: whether the subject is; `label`: what was said
    of it and holds."""

    conn: Connection
    decision: Decision
    policy: Policy
    case: Case | None
    down: bool
    reason: str
    label: str | None

    @property
    def subject(self) -> Subject:
        return self.decision.subject

    async def make(self) -> Event:
        decision = self.decision
        match decision.action:
            case Action.TAKEDOWN:
                return await self._take_down()
            case Action.RESTORE:
                return await self._restore()
            case Action.RESOLVE:
                return await self._resolve()
            case Action.DELIST:
                await sanctions.delist(self.conn, self.subject, self.reason, self.policy.catalog)
                return await self._log(reason=self.reason)
            case Action.RELIST:
                await sanctions.relist(self.conn, self.subject, self.policy.catalog)
                return await self._log()
            case Action.LABEL | Action.UNLABEL:
                return await self._say()
            case Action.APPEAL:
                assert self.case is not None
                if self.case.state != "open":
                    await rows.reopen(self.conn, self.case.id)
                return await self._log()
            case Action.NOTE:
                return await self._log()
            case Action.OPEN | Action.NOTICE | Action.COUNTER_NOTICE | Action.SUIT:
                raise IllegalMove(f"{decision.action} is no decision")
            case _:
                assert_never(decision.action)

    async def _take_down(self) -> Event:
        await sanctions.take_down(self.conn, self.subject, self.reason, self.policy.catalog)
        return await self._uphold()

    async def _resolve(self) -> Event:
        resolution = self.decision.resolution
        assert resolution is not None
        if resolution is Resolution.VIOLATION:
            return await self._uphold()
        case = await self._a_case()
        await rows.resolve(self.conn, case.id, resolution, case.reason, self.decision.actor)
        await self._review([case.id], resolution)
        await self._lead(NoticeState.REJECTED)
        return await self._log(resolution=resolution)

    async def _uphold(self) -> Event:
        """It is a violation: the case says so, its notices, its scans, and a label."""
        if self.case is not None and self.case.state != "open" and self.case.reason != self.reason:
            self.case = None  # that was about something else, and goes on counting
        case = await self._a_case()
        await rows.resolve(self.conn, case.id, Resolution.VIOLATION, self.reason, self.decision.actor)
        await self._review([case.id], Resolution.VIOLATION)
        await self._lead(NoticeState.UPHELD)
        in_sight = self.decision.action is Action.RESOLVE and not self.down
        await self._mark(self.reason if in_sight and self.reason in actions.SENSITIVE else None)
        strikes = await self._count_strikes()
        val = actions.label_of(self.subject, self.reason)
        labels = self.policy.labels
        said = val if labels is not None and self.label is None else None
        event = await self._log(
            reason=self.reason, resolution=Resolution.VIOLATION, label=said, strikes=strikes or None
        )
        if labels is not None and said is not None:
            await labels.emit(self.conn, self.subject.text, said)
        return event

    async def _restore(self) -> Event:
        resolution = self.decision.resolution
        assert resolution is not None
        await self._a_case()
        if self.down:
            await sanctions.restore(self.conn, self.subject, self.policy.catalog)
        ended = await rows.clear(self.conn, self.subject, resolution, self.decision.actor)
        await self._review(ended, resolution)
        await self._lead(NoticeState.RESTORED)
        await self._mark(None)
        event = await self._log(resolution=resolution, unlabel=self.label)
        if self.label is not None:
            assert self.policy.labels is not None
            await self.policy.labels.emit(self.conn, self.subject.text, self.label, neg=True)
        return event

    async def _say(self) -> Event:
        """A label by hand, or its negation."""
        labels, val, neg = self.policy.labels, self.decision.val, self.decision.action is Action.UNLABEL
        if labels is None:
            raise IllegalMove("there is no labeler: it has no DID, as PLYR_PUBLIC_URL is not set")
        active = await label_rows.active(self.conn, [self.subject.text], [labels.src])
        if val is None or neg != (val in {each.val for each in active}):
            raise IllegalMove(f"label {val} {'does not hold' if neg else 'holds already'}")
        event = await self._log(
            val=val, exp=None if self.decision.exp is None else self.decision.exp.isoformat()
        )
        try:
            await labels.emit(
                self.conn, self.subject.text, val, neg=neg, exp=None if neg else self.decision.exp
            )
        except NoLabel as error:
            raise IllegalMove(str(error)) from error
        return event

    async def _a_case(self) -> Case:
        """The case that is decided; one that is opened by hand where nothing was brought up."""
        if self.case is None:
            self.case = await rows.open(self.conn, self.subject, OpenedBy.HAND, self.reason)
        return self.case

    async def _review(self, case_ids: list[int], resolution: Resolution) -> None:
        found = await rows.flags(self.conn, case_ids)
        made = scans.Resolution(resolution)
        await scans.review(self.conn, found, made, self.decision.actor, self.decision.note)

    async def _lead(self, to: NoticeState) -> None:
        await rows.move_notices(self.conn, self.subject, sorted(actions.NOTICE_MOVES[to]), to)

    async def _mark(self, sensitive: str | None) -> None:
        """Whether bytes in sight are to be covered, and why."""
        if self.subject.kind is SubjectKind.BLOB and self.subject.sha256 is not None:
            await sensitive_images.mark(self.conn, self.subject.did, self.subject.sha256, sensitive)

    async def _count_strikes(self) -> int:
        """How many there are with this one; enough of them are a case about the account."""
        if self.reason != COPYRIGHT or self.subject.kind is SubjectKind.ACCOUNT:
            return 0
        strikes = await rows.strikes(self.conn, self.subject.did)
        account = read_subject(self.subject.did)
        stands = await rows.standing(self.conn, account)
        if strikes >= self.policy.strikes and stands.down is None:
            await open_case(
                self.conn,
                account,
                OpenedBy.STRIKES,
                actor=PLYR,
                proof=Proof.SELF,
                reason=REPEAT_INFRINGER,
                detail={"strikes": strikes},
            )
        return strikes

    async def _log(self, *, reason: str | None = None, **detail: Any) -> Event:
        decision = self.decision
        return await rows.add_event(
            self.conn,
            self.subject,
            decision.action,
            case_id=None if self.case is None else self.case.id,
            actor=decision.actor,
            proof=decision.proof,
            reason=reason or decision.reason,
            note=decision.note,
            detail={name: value for name, value in detail.items() if value is not None},
        )


async def stands(conn: Connection, subject: Subject, policy: Policy) -> Standing:
    """What stands against a subject now."""
    label = await _standing_label(conn, subject, policy)
    down = (await rows.standing(conn, subject)).down
    return await _standing(conn, subject, label, down)


async def _standing(conn: Connection, subject: Subject, label: str | None, down: str | None) -> Standing:
    if down is not None:
        return Standing.DOWN
    judged = label is not None or await rows.violated(conn, subject)
    return Standing.JUDGED if judged else Standing.CLEAR


async def _standing_label(conn: Connection, subject: Subject, policy: Policy) -> str | None:
    """What a decision said of it by a label that holds."""
    if policy.labels is None or subject.kind is SubjectKind.BLOB:
        return None
    active = await label_rows.active(conn, [subject.text], [policy.labels.src])
    return next((each.val for each in active if each.val in actions.LABELS.values()), None)


async def _not_outdated(conn: Connection, decision: Decision) -> None:
    if decision.seen is None or decision.action is Action.NOTE:
        return
    event = await rows.later(conn, decision.subject.text, decision.seen, sorted(DECIDING))
    if event is not None:
        what = event.detail.get("resolution")
        told = f"{event.action}{f' ({what})' if what else ''}"
        raise Outdated(
            f"meanwhile {event.actor} decided {told} at {event.at:%Y-%m-%d %H:%M:%S} UTC: look again"
        )


def _told(case: Case | None) -> str:
    """Who resolved it, for whoever comes too late."""
    if case is None or case.resolved_at is None:
        return ""
    return (
        f" (case {case.id}: {case.resolution}, by {case.resolved_by}"
        f" at {case.resolved_at:%Y-%m-%d %H:%M:%S} UTC)"
    )
