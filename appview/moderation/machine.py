"""The moderation service for programs: what it was asked before, answered by what decides now.

    GET  /health                            open: {status, labeler_enabled}
    POST /scan           {audio_url}        what AuDD takes a sound for
    POST /emit-label     {uri, val, …}      a decision, and the label that follows it
    GET  /admin/flags    /admin/flags-html  what was labelled as a violation, and whether it still is
    POST /admin/resolve  /admin/resolve-htmx {uri, val}: a false positive after all
    POST /admin/context  {uri, …}           what is to be shown with a flag

Contract: everything but /health wants the key in X-Moderation-Key: 503 where the service has none, 401 where
it is missing or wrong, before a body is read. `copyright-violation` is no label that a program gives: it asks
for the decision that it follows, with a case and a line in the log. Errors are `{"error": text}`.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import orjson
from aiohttp import hdrs, web
from markupsafe import escape

from appview.moderation import actions
from appview.moderation.actions import COPYRIGHT, LABELS, Action
from appview.moderation.audd import Audd, AuddFailed
from appview.moderation.cases import open_case
from appview.moderation.decisions import Decision, Policy, decide
from appview.moderation.labels import Labels, NoLabel, to_json
from lexicons.subject import Subject, read_subject
from storage import flags, moderation
from storage.flags import Flag
from storage.labels import LabelRow
from storage.moderation import OpenedBy, Proof, Resolution
from storage.postgres import Pool

HEADER = "X-Moderation-Key"
ACTOR = "service"
_COPYRIGHT_LABEL = LABELS[COPYRIGHT]
_MOST_FLAGS = 500
_MAX_BODY = 1 << 20

T = TypeVar("T")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Scan(msgspec.Struct):
    audio_url: str


class _Context(msgspec.Struct, omit_defaults=True):
    track_title: str | None = None
    artist_handle: str | None = None
    artist_did: str | None = None
    highest_score: int | None = None
    matches: list[dict[str, Any]] | None = None


class _Emit(msgspec.Struct):
    uri: str
    val: str = _COPYRIGHT_LABEL
    cid: str | None = None
    neg: bool = False
    context: _Context | None = None


class _Resolve(msgspec.Struct):
    uri: str
    val: str = _COPYRIGHT_LABEL


class _About(_Context):
    uri: str = ""


class _No(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Machine:
    """`key` None: everything but /health is closed. `audd` None: nothing is scanned."""

    def __init__(self, pool: Pool, policy: Policy, audd: Audd | None, key: str | None) -> None:
        self._pool = pool
        self._policy = policy
        self._audd = audd
        self._key = key

    def app(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY)
        router = app.router
        router.add_get("/health", self.health)
        router.add_post("/scan", self._guarded(self.scan))
        router.add_post("/emit-label", self._guarded(self.emit))
        router.add_get("/admin/flags", self._guarded(self.flags))
        router.add_get("/admin/flags-html", self._guarded(self.flags_html))
        router.add_post("/admin/resolve", self._guarded(self.resolve))
        router.add_post("/admin/resolve-htmx", self._guarded(self.resolve_html))
        router.add_post("/admin/context", self._guarded(self.context))
        return app

    async def health(self, _: web.Request) -> web.Response:
        return _json({"status": "ok", "labeler_enabled": self._policy.labels is not None})

    async def scan(self, request: web.Request) -> web.Response:
        asked = await _body(request, _Scan)
        if self._audd is None:
            raise _No(503, "nothing is scanned: PLYR_AUDD_TOKEN is not set")
        if not asked.audio_url.startswith(("http://", "https://")):
            raise _No(400, "audio_url is no address")
        try:
            verdict = await self._audd.identify(asked.audio_url)
        except AuddFailed as failed:
            raise _No(502, str(failed)) from None
        shown = ("artist", "title", "album", "score", "isrc", "timecode", "offset_ms")
        return _json(
            {
                "matches": [{name: getattr(each, name) for name in shown} for each in verdict.matches],
                "is_flagged": verdict.is_flagged,
                "highest_score": max((each.score for each in verdict.matches), default=0),
                "raw_response": orjson.loads(verdict.raw or "null"),
            }
        )

    async def emit(self, request: web.Request) -> web.Response:
        asked = await _body(request, _Emit)
        if asked.cid is not None:
            raise _No(400, "a decision is about all versions of a record: leave out cid")
        context = None if asked.context is None else msgspec.to_builtins(asked.context)
        row = await self._say(_subject(asked.uri), asked.val, neg=asked.neg, context=context)
        return _json({"seq": row.seq, "label": to_json(row)})

    async def flags(self, _: web.Request) -> web.Response:
        return _json({"tracks": [_shown(flag) for flag in await self._flags()]})

    async def flags_html(self, _: web.Request) -> web.Response:
        return _html("".join(_row(flag) for flag in await self._flags()) or "<p>nothing is flagged</p>")

    async def resolve(self, request: web.Request) -> web.Response:
        asked = await _body(request, _Resolve)
        row = await self._say(_subject(asked.uri), asked.val, neg=True)
        return _json({"seq": row.seq, "message": f"{row.val} is taken back from {row.uri}"})

    async def resolve_html(self, request: web.Request) -> web.Response:
        form = await request.post()
        uri, val = str(form.get("uri", "")), str(form.get("val", "") or _COPYRIGHT_LABEL)
        row = await self._say(_subject(uri), val, neg=True)
        return _html(f"<p>{escape(row.val)} is taken back (seq {row.seq})</p>")

    async def context(self, request: web.Request) -> web.Response:
        asked = await _body(request, _About)
        subject, told = _subject(asked.uri), msgspec.to_builtins(asked)
        told.pop("uri", None)
        async with self._pool.connection() as conn, conn.transaction():
            await moderation.lock(conn, subject)
            case = await moderation.latest(conn, subject.text)
            await moderation.add_event(
                conn,
                subject,
                Action.NOTE,
                case_id=None if case is None else case.id,
                actor=ACTOR,
                proof=Proof.KEY,
                detail={"context": told},
            )
        return _json({"message": "kept"})

    async def _say(
        self, subject: Subject, val: str, *, neg: bool, context: dict[str, Any] | None = None
    ) -> LabelRow:
        """The label that says so, after the decision that it follows. Raises _No."""
        labels = self._labels()
        async with self._pool.connection() as conn, conn.transaction():
            if context is not None or (val == _COPYRIGHT_LABEL and not neg):
                detail = {} if context is None else {"context": context}
                await open_case(
                    conn,
                    subject,
                    OpenedBy.HAND,
                    actor=ACTOR,
                    proof=Proof.KEY,
                    reason=COPYRIGHT,
                    detail=detail,
                )
            try:
                await decide(conn, self._decision(subject, val, neg=neg), self._policy)
            except (actions.Refused, NoLabel) as refused:
                raise _No(409, str(refused)) from None
            row = await flags.said(conn, labels.src, subject.text, val)
        assert row is not None
        return row

    def _decision(self, subject: Subject, val: str, *, neg: bool) -> Decision:
        if val != _COPYRIGHT_LABEL:
            return Decision(Action.UNLABEL if neg else Action.LABEL, subject, ACTOR, Proof.KEY, val=val)
        if neg:
            resolution = Resolution.FALSE_POSITIVE
            return Decision(Action.RESTORE, subject, ACTOR, Proof.KEY, resolution=resolution)
        resolution = Resolution.VIOLATION
        return Decision(Action.RESOLVE, subject, ACTOR, Proof.KEY, reason=COPYRIGHT, resolution=resolution)

    async def _flags(self) -> list[Flag]:
        async with self._pool.connection() as conn:
            return await flags.listed(conn, self._labels().src, _COPYRIGHT_LABEL, limit=_MOST_FLAGS)

    def _labels(self) -> Labels:
        if self._policy.labels is None:
            raise _No(503, "there is no labeler: nobody could look it up, as PLYR_PUBLIC_URL is not set")
        return self._policy.labels

    def _guarded(self, handler: _Handler) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            given = request.headers.get(HEADER, "")
            if not self._key:
                return _error(503, "this service has no key, and is closed")
            if not hmac.compare_digest(given.encode(), self._key.encode()):
                return _error(401, f"{HEADER} is missing or wrong")
            try:
                return await handler(request)
            except _No as no:
                return _error(no.status, str(no))

        return handle


def _subject(uri: str) -> Subject:
    try:
        return read_subject(uri)
    except ValueError as error:
        raise _No(400, str(error)) from None


async def _body(request: web.Request, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _No(400, str(error)) from None


def _shown(flag: Flag) -> dict[str, Any]:
    shown = {
        "seq": flag.seq, "uri": flag.uri, "val": flag.val, "created_at": flag.cts, "resolved": flag.neg,
    }  # fmt: skip
    return shown | ({} if flag.context is None else {"context": flag.context})


def _row(flag: Flag) -> str:
    title = (flag.context or {}).get("track_title") or flag.uri
    state = "resolved" if flag.neg else "flagged"
    return f'<p class="{state}">{escape(title)} – {escape(flag.val)}, {state}</p>'


def _json(value: object, status: int = 200) -> web.Response:
    headers = {hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(
        body=orjson.dumps(value), status=status, content_type="application/json", headers=headers
    )


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", headers={hdrs.CACHE_CONTROL: "no-store"})


def _error(status: int, text: str) -> web.Response:
    return _json({"error": text}, status)
