"""`/moderation`: the queue of cases, and each case with what there is to judge it by. No scripts.

For those whom the operator named, signed in in a browser; for everybody else who is signed in these pages do
not exist. A form says which line of the log was the newest on its page: what another moderator did meanwhile
is seen before anything else is done.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from aiohttp import hdrs, web

from appview.auth.desk import HANDLE_INVALID, Desk
from appview.moderation import actions
from appview.moderation.actions import Listing, Standing
from appview.moderation.decisions import Decision, Policy, decide, stands
from appview.rest.answers import Refused, rest
from appview.rest.form import Form
from appview.rest.media import Media
from appview.web import case_page, verdicts
from appview.web.problems import Problem, sentence
from appview.web.site import Site
from lexicons.subject import Subject, SubjectKind, read_subject
from lexicons.syntax import Did, Nsid, Rkey
from storage import moderation
from storage import moderation_views as views
from storage.blobs.store import Area
from storage.moderation import Notice, Proof
from storage.moderation_views import CaseView, Flag, Happened, Shown
from storage.postgres import Connection
from storage.sessions import Kind
from storage.viewers import Session

PAGE = 50
_MOST_NOTE, _MOST_REASON = 2000, 64
_MOST_ID = 2**63 - 1

Handler = Callable[[web.Request, Session], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Judges:
    """Who may see and decide here, and what follows their decisions."""

    moderators: frozenset[Did]
    policy: Policy


@dataclass(frozen=True, slots=True)
class _Looked:
    """All that the page of a case is made of."""

    case: CaseView
    subject: Subject
    is_track: bool
    flag: Flag | None
    tracks: dict[tuple[Did, Rkey], int]  # that it found
    shown: Shown
    history: list[Happened]
    notices: list[Notice]
    others: list[CaseView]
    standing: Standing
    newest: int  # case of the same subject

    @property
    def seen(self) -> int:
        return self.history[-1].id if self.history else 0


class ModerationPages:
    """`track`: the collection of tracks. `media` None: there is nothing to listen to."""

    def __init__(self, desk: Desk, site: Site, track: Nsid, judges: Judges, media: Media | None) -> None:
        self._desk = desk
        self._site = site
        self._track = track
        self._moderators = judges.moderators
        self._policy = judges.policy
        self._media = media

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/moderation", rest(self._judged(self.queue)))
        router.add_get("/moderation/cases/{id}", rest(self._judged(self.case)))
        router.add_post("/moderation/cases/{id}", rest(self._judged(self.act)))
        if self._media is not None:
            router.add_get("/moderation/cases/{id}/sound", rest(self._judged(self.sound)))
            router.add_get("/moderation/cases/{id}/picture", rest(self._judged(self.picture)))

    def _judged(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler for moderators. A developer token is not enough: it is a person who decides."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                asked = await self._desk.asking(request)
            except Refused:
                here = {} if request.method == hdrs.METH_POST else {"return_to": request.path_qs}
                raise web.HTTPSeeOther(self._desk.config.page("/login", "/sign-in", here)) from None
            in_browser = asked.by_cookie and asked.session.kind == Kind.BROWSER
            if not in_browser or asked.session.did not in self._moderators:
                raise web.HTTPNotFound
            return await handler(request, asked.session)

        return handle

    async def queue(self, request: web.Request, session: Session) -> web.StreamResponse:
        decided = request.query.get("show") == "decided"
        beyond = _number(request.query.get("beyond"))
        async with self._desk.pool.connection() as conn:
            counts = await views.summary(conn)
            if decided:
                found = await views.decided(conn, self._track, before=beyond, limit=PAGE + 1)
            else:
                found = await views.queue(conn, self._track, after=beyond, limit=PAGE + 1)
        now = datetime.now(UTC)
        more = {"show": "decided"} if decided else {}
        further = urlencode({**more, "beyond": found[PAGE - 1].id}) if len(found) > PAGE else None
        values = {
            "me": f"@{session.handle or HANDLE_INVALID}",
            "notice": None,
            "problem": None,
            "summary": case_page.summary(counts),
            "decided": decided,
            "cases": [case_page.line(each, now) for each in found[:PAGE]],
            "more": further and f"/moderation?{further}",
        }
        return self._site.page("moderation.html", values)

    async def case(self, request: web.Request, session: Session) -> web.StreamResponse:
        async with self._desk.pool.connection() as conn:
            looked = await self._look(conn, request)
            before = _number(request.query.get("done"))
            done = None if before is None else await views.one(conn, self._track, before)
        return self._shown(request, looked, done=done)

    async def sound(self, request: web.Request, session: Session) -> web.StreamResponse:
        """What was scanned, else what is played, though nobody else may hear it any more."""
        async with self._desk.pool.connection() as conn:
            case = await self._case(conn, request)
            flag, shown = await self._heard(conn, read_subject(case.subject))
        return await self._guarded(request, Area.AUDIO, _sha256(flag, shown))

    async def picture(self, request: web.Request, session: Session) -> web.StreamResponse:
        """The picture that it is about, or is shown with, likewise."""
        async with self._desk.pool.connection() as conn:
            case = await self._case(conn, request)
            _, shown = await self._heard(conn, read_subject(case.subject))
        return await self._guarded(request, Area.IMAGE, shown.cover)

    async def _guarded(self, request: web.Request, area: Area, sha256: str | None) -> web.StreamResponse:
        assert self._media is not None
        if sha256 is None:
            raise Refused(404, "there is none")
        return await self._media.guarded(request, area, sha256)

    async def act(self, request: web.Request, session: Session) -> web.StreamResponse:
        """A form of a case: then the next open case, or the same where nothing was decided."""
        form = await Form.texts(request)
        note = _text(form.get("note"), _MOST_NOTE)
        async with self._desk.pool.connection() as conn:
            case = await self._case(conn, request)
            try:
                act = verdicts.act(form.get("act", ""))
                decision = Decision(
                    act.action,
                    read_subject(case.subject),
                    session.did,
                    Proof.SESSION,
                    reason=_text(form.get("reason"), _MOST_REASON) or None if act.by_reason else None,
                    note=note or None,
                    resolution=act.resolution,
                    seen=_number(form.get("seen", "")) or 0,
                )
                await decide(conn, decision, self._policy)
            except actions.Refused as refused:
                problem = Problem("That was not done.", sentence(str(refused)))
                looked = await self._look(conn, request)
                return self._shown(request, looked, problem=problem, note=note, status=409)
            after = await views.one(conn, self._track, case.id)
            closed = case.state == "open" and after is not None and after.state != "open"
            following = await views.following(conn, case.id) if closed else None
        where = f"/moderation/cases/{following or case.id}" + (f"?done={case.id}" if closed else "")
        return web.Response(status=303, headers={hdrs.LOCATION: where, hdrs.CACHE_CONTROL: "no-store"})

    async def _case(self, conn: Connection, request: web.Request) -> CaseView:
        """Raises HTTPNotFound."""
        id = _number(request.match_info["id"])
        found = None if id is None else await views.one(conn, self._track, id)
        if found is None:
            raise web.HTTPNotFound
        return found

    async def _look(self, conn: Connection, request: web.Request) -> _Looked:
        """Raises HTTPNotFound."""
        subject = read_subject((await self._case(conn, request)).subject)
        # The log first: whoever decides while the rest is read is seen to have decided since.
        history = await views.history(conn, subject.text)
        case = await self._case(conn, request)
        flag, shown = await self._heard(conn, subject)
        newest = await moderation.latest(conn, subject.text)
        return _Looked(
            case=case,
            subject=subject,
            is_track=self._rkey(subject) is not None,
            flag=flag,
            tracks={} if flag is None else await views.tracks(conn, flag),
            shown=shown,
            history=history,
            notices=await moderation.notices(conn, subject.text),
            others=await views.others(conn, self._track, case),
            standing=await stands(conn, subject, self._policy),
            newest=case.id if newest is None else newest.id,
        )

    async def _heard(self, conn: Connection, subject: Subject) -> tuple[Flag | None, Shown]:
        """What was scanned of a track and found something, and what it plays and shows; or what bytes are."""
        if subject.kind is SubjectKind.BLOB:
            return None, await views.shown_bytes(conn, subject.sha256 or "")
        rkey = self._rkey(subject)
        if rkey is None:
            return None, Shown()
        return await views.flag(conn, subject.did, rkey), await views.shown(conn, subject.did, rkey)

    def _rkey(self, subject: Subject) -> Rkey | None:
        """Of a track."""
        if subject.kind is not SubjectKind.RECORD:
            return None
        _, collection, rkey = subject.text.removeprefix("at://").split("/")
        return Rkey(rkey) if collection == self._track else None

    def _shown(
        self,
        request: web.Request,
        looked: _Looked,
        *,
        done: CaseView | None = None,
        problem: Problem | None = None,
        note: str = "",
        status: int = 200,
    ) -> web.Response:
        case, flag, now = looked.case, looked.flag, datetime.now(UTC)
        at_s = _seconds(request.query.get("t"))
        is_open, listing = case.state == "open", None
        if looked.is_track:
            listing = Listing.UNLISTED if case.unlisted else Listing.LISTED
        buttons = list(verdicts.buttons(looked.subject, looked.standing, is_open=is_open, listing=listing))
        values: dict[str, Any] = {
            "problem": problem,
            "notice": None,
            "done": None if done is None else case_page.line(done, now),
            "case": case_page.line(case, now),
            "is_open": is_open,
            "unlisted": case.unlisted,
            "did": case.did,
            "subject": case.subject,
            "track_id": case.track_id,
            "is_track": looked.is_track,
            "standing": looked.standing.value,
            "newest": None if looked.newest == case.id else looked.newest,
            "has_sound": self._media is not None and _sha256(flag, looked.shown) is not None,
            "has_cover": self._media is not None and looked.shown.cover is not None,
            "at_s": at_s,
            "next_s": None if flag is None else case_page.next_part(flag, at_s),
            "flag": flag,
            "notices": [case_page.notice(each, now) for each in looked.notices],
            "history": list(case_page.log(looked.history)),
            "others": [case_page.line(each, now) for each in looked.others],
            "record": case_page.written(case),
            "buttons": buttons,
            "by_reason": any(verdicts.act(each.act).by_reason for each in buttons),
            "reasons": verdicts.reasons(case.reason, case.opened_by),
            "seen": looked.seen,
            "note": note,
            "most_note": _MOST_NOTE,
        }
        if flag is not None:
            values |= {
                "percent": round(flag.dominant_share * 100),
                "compared": case_page.compared(case, flag),
                "songs": case_page.songs(flag, at_s, self._track, looked.tracks),
                "scanned": case_page.day(flag.scanned_at),
            }
        media = None if self._media is None else self._media.origins
        return self._site.page("case.html", values, status=status, form_action="'self'", media=media)


def _sha256(flag: Flag | None, shown: Shown) -> str | None:
    """What is to be heard: what was scanned, else what is played."""
    return shown.sha256 if flag is None else flag.sha256


def _text(field: object, most: int) -> str:
    """What was written into a form. Postgres keeps no NUL."""
    return field.replace("\0", "").replace("\r\n", "\n").strip()[:most] if isinstance(field, str) else ""


def _number(text: str | None) -> int | None:
    """An id, if it can be one."""
    plain = text is not None and text.isascii() and text.isdecimal() and len(text) < 20
    return int(text or 0) if plain and int(text or 0) <= _MOST_ID else None


def _seconds(text: str | None) -> float | None:
    """Where to listen from."""
    try:
        at_s = float(text or "nan")
    except ValueError:
        return None
    return at_s if math.isfinite(at_s) and 0 <= at_s < 1e6 else None
