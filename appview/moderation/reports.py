"""Reports: somebody says that something should be looked at. A report opens a case and decides nothing.

    report of a record     what we show under this address now; the version that was seen is kept beside it
    report of an account   one that we know
    appeal                 by whose it is alone, against a decision; what it is about may be hidden by now

Any account of the network may report, so many times an hour. The same subject reported twice has one case
(rule L6). <https://atproto.com/lexicons/com-atproto-moderation>
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from appview.errors import AppealRefused, InvalidRequest, RecordNotFound, RepoNotFound
from appview.limits import Limit, RateLimiter
from appview.moderation.cases import open_case
from appview.viewer import Viewer
from lexicons.subject import Subject, SubjectKind, read_subject
from lexicons.syntax import Cid, Nsid, parse_at_uri
from storage import reports
from storage.moderation import OpenedBy, Proof
from storage.postgres import Connection, Pool

MAX_TOOL = 200
_ACCOUNT = "com.atproto.admin.defs#repoRef"
_RECORD = "com.atproto.repo.strongRef"
_APPEAL = "appeal"
# The set is open: other vocabularies, as tools.ozone.report.defs, name theirs alike.
_REASON = re.compile(r"[a-z][a-z0-9.-]{1,200}\.[a-zA-Z]{1,63}#reason([A-Z][A-Za-z]{0,63})")


@dataclass(frozen=True, slots=True)
class Report:
    """`reason`: the last word of `reason_type`, as `spam`. `cid`: the version that was seen. `text`: the
    reporter's own words."""

    subject: Subject
    reason_type: str
    reason: str
    cid: Cid | None = None
    text: str | None = None
    tool: str | None = None


@dataclass(slots=True)
class Reports:
    """Takes reports. `collections`: whose records can be reported here."""

    pool: Pool
    collections: frozenset[Nsid]
    limit: Limit
    _limiter: RateLimiter = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._limiter = RateLimiter(self.limit)

    async def take(self, report: Report, by: Viewer) -> int:
        """The number of the case that it opened, or came to. Raises RateLimitExceeded, RepoNotFound,
        RecordNotFound, AppealRefused."""
        self._limiter.take(by.did)
        appeal = report.reason == _APPEAL
        detail: dict[str, Any] = {"reasonType": report.reason_type}
        if report.tool is not None:
            detail["tool"] = report.tool
        async with self.pool.connection() as conn, conn.transaction():
            if appeal:
                await self._check_appeal(conn, report.subject, by)
            else:
                shown = await self._shown(conn, report.subject)
                if shown is not None:
                    detail |= {"cid": shown, "reportedCid": report.cid}
            return await open_case(
                conn,
                report.subject,
                OpenedBy.APPEAL if appeal else OpenedBy.REPORT,
                actor=by.did,
                proof=Proof.SERVICE if by.session is None else Proof.SESSION,
                reason=report.reason,
                note=report.text,
                detail=detail,
            )

    async def _check_appeal(self, conn: Connection, subject: Subject, by: Viewer) -> None:
        if subject.did != by.did or not await reports.was_judged(conn, subject.text):
            raise AppealRefused

    async def _shown(self, conn: Connection, subject: Subject) -> Cid | None:
        """The version of the record that we show; None: it is an account."""
        if subject.kind is SubjectKind.ACCOUNT:
            if not await reports.knows_account(conn, subject.did):
                raise RepoNotFound
            return None
        uri = parse_at_uri(subject.text)
        if uri.collection not in self.collections:
            raise RecordNotFound("This is no record that is shown here.")
        cid = await reports.shown_version(conn, subject.did, uri.collection or "", uri.rkey or "")
        if cid is None:
            raise RecordNotFound
        return cid


def read_report(body: dict[str, Any]) -> Report:
    """A report out of a body that its lexicon allows. Raises InvalidRequest."""
    reason_type, named, text = body["reasonType"], body["subject"], body.get("reason")
    word = _REASON.fullmatch(reason_type)
    if word is None:
        raise InvalidRequest(f"reasonType: {reason_type[:100]!r} is no reason")
    if text is not None and "\0" in text:
        raise InvalidRequest("reason: a character that cannot be kept")
    try:
        subject, cid = _read_subject(named)
    except ValueError as error:
        raise InvalidRequest(f"subject: {error}") from None
    tool = body.get("modTool", {}).get("name")
    return Report(
        subject,
        reason_type,
        word[1].lower(),
        cid,
        text,
        None if tool is None else tool[:MAX_TOOL].replace("\0", ""),
    )


def _read_subject(named: dict[str, Any]) -> tuple[Subject, Cid | None]:
    """What is reported, and the version of a record. Raises ValueError."""
    if named["$type"] == _ACCOUNT:
        return read_subject(named["did"]), None
    if named["$type"] != _RECORD:
        raise ValueError(f"nothing of type {named['$type'][:100]!r} can be reported here")
    subject = read_subject(named["uri"])
    if subject.kind is not SubjectKind.RECORD:
        raise ValueError(f"{named['uri'][:100]!r} is no record by its DID")
    return subject, Cid(named["cid"])
