"""`/xrpc/*`: from an NSID to its handler, with everything around that the lexicons and the HTTP rules say.

The catalog is the table of routes. What is wrong with a request is found in this order: who asks, and how
often (`guards`), verb and method (X1, X3), parameters (X4), the body's media type and shape (X5), the
handler's own errors. Every failure is `{error, message}` (X2). CORS is open and without credentials: a page
elsewhere may ask anything, and is told what everybody is told, unless it has a token to show (X15).
<https://atproto.com/specs/xrpc>
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import lru_cache
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs

import psycopg
import structlog
from aiohttp import hdrs, web
from isal import isal_zlib
from multidict import CIMultiDict

from appview import errors
from appview.auth.proviso import Mistaken
from appview.errors import AppError, Failure, InvalidRequest, MethodNotImplemented
from appview.guards import EXPOSED, Admitted, Gate
from appview.labelers import ACCEPT, CONTENT, read_labelers, shown
from appview.metrics import Metrics
from appview.moderation.label_stream import LabelStream
from appview.service import Call, Handler, Service
from appview.subscribe import LiveFeed
from appview.viewer import Viewer
from appview.xrpc import actor, audio, feed, graph, label, moderation, server, sync
from appview.xrpc.bodies import body_of
from lexicons.syntax import Nsid, Rev, is_nsid
from lexicons.validate import Invalid, validate_params
from storage.blobs.store import StoreDown
from storage.reader import TimedOut, Unavailable

log = structlog.get_logger()

COMPRESS_FROM = 1024
SUBSCRIBE_LABELS = "com.atproto.label.subscribeLabels"
JSON = "application/json; charset=utf-8"
_HEADERS = {
    hdrs.CONTENT_TYPE: JSON,
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED,
    hdrs.VARY: "Accept-Encoding, Authorization, Cookie, Atproto-Accept-Labelers",
    "X-Content-Type-Options": "nosniff",
}
_ASKING = (hdrs.METH_GET, hdrs.METH_HEAD)
_CALLING = (hdrs.METH_POST,)
_PLAIN = CIMultiDict(_HEADERS)
_GZIPPED = CIMultiDict({**_HEADERS, hdrs.CONTENT_ENCODING: "gzip"})


class UnmatchedMethods(Exception):
    """A method of the lexicons has no handler, or a handler no lexicon."""


def handlers(namespace: str, described: Mapping[Nsid, object]) -> dict[str, Handler]:
    """Every handler under its NSID. Raises UnmatchedMethods unless they are exactly the methods that the
    lexicons describe."""
    methods = feed.METHODS | actor.METHODS | audio.METHODS | graph.METHODS | server.METHODS | sync.METHODS
    found = {f"{namespace}.{name}": handler for name, handler in methods.items()}
    own = {nsid for nsid in described if nsid.startswith(f"{namespace}.")}
    if own != found.keys():
        bare, unknown = sorted(own - found.keys()), sorted(found.keys() - own)
        raise UnmatchedMethods(f"without a handler: {bare}; without a lexicon: {unknown}")
    return found | label.METHODS | moderation.METHODS


class Dispatcher:
    """Answers `/xrpc/{nsid}`."""

    def __init__(
        self,
        service: Service,
        metrics: Metrics,
        live: LiveFeed,
        gate: Gate,
        labels: LabelStream | None = None,
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._gate = gate
        catalog = service.catalog
        self._handlers = handlers(catalog.namespace, {**catalog.queries(), **catalog.procedures()})
        self._subscriptions: dict[str, LiveFeed | LabelStream] = {f"{catalog.namespace}.sync.subscribe": live}
        if labels is not None:
            self._subscriptions[SUBSCRIBE_LABELS] = labels

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The one place where an exception becomes an answer."""
        started = perf_counter()
        method = request.match_info.get("nsid", "")
        if request.method == hdrs.METH_OPTIONS:
            return preflight(request)
        admitted, more = Admitted(), dict[str, str]()
        try:
            admitted = await self._gate.admit(request)
            try:
                body = await self._told(request, method, admitted.viewer, more)
            except Mistaken:
                more.clear()  # and now who it is has to be asked, and counted
                admitted = await self._gate.admit(request)
                body = await self._told(request, method, admitted.viewer, more)
            if not isinstance(body, bytes):
                return body
        except (AppError, Unavailable, TimedOut, StoreDown, psycopg.OperationalError) as error:
            if isinstance(error, AppError):
                self._gate.refused(error)
            response = failed(errors.failure_of(error))
        except Exception:
            incident = secrets.token_hex(6)
            log.exception("request failed", incident=incident, method=method)
            response = failed(errors.internal(incident))
        else:
            response = answered(
                body, request.headers.get(hdrs.ACCEPT_ENCODING), media_type=self._media_type(method)
            )
            response.headers.update(more)
        response.headers.update(admitted.headers)
        self._metrics.answered(
            method if method in self._handlers or method in self._subscriptions else "unknown",
            response.status,
            perf_counter() - started,
        )
        return response

    async def _told(
        self, request: web.Request, method: str, viewer: Viewer | None, headers: dict[str, str]
    ) -> bytes | web.StreamResponse:
        """As `_answer`, or what a subscription has said until its end. Raises Mistaken before anybody is told
        anything who was not presumed."""
        try:
            if method in self._subscriptions:
                await _settled(viewer)
                params = self._params(request, Nsid(method))
                return await self._subscriptions[method].handle(request, params)
            return await self._answer(request, method, viewer, headers)
        except AppError:
            if viewer is not None and viewer.session is not None:
                await _settled(viewer)
            raise

    async def _answer(
        self, request: web.Request, method: str, viewer: Viewer | None, headers: dict[str, str]
    ) -> bytes:
        """The answer's body; what else it has to tell goes into `headers`."""
        handler = self._handlers.get(method)
        if handler is None:
            if not is_nsid(method):
                raise InvalidRequest(f"{method[:100]!r} is not the name of a method")
            raise MethodNotImplemented
        nsid = Nsid(method)
        params = self._params(request, nsid)
        config = self._service.config
        labelers = read_labelers(request.headers.getall(ACCEPT, ()), config.labelers)
        if labelers:
            headers[CONTENT] = shown(labelers)
        if request.method not in _ASKING:
            await _settled(viewer)  # before anything is changed
        read, incoming = await body_of(request, self._service.catalog, nsid)
        call = Call(self._service, params, viewer and viewer.did, labelers, viewer, read, incoming, request)
        body = await handler(call)
        rev = await _settled(viewer)
        if viewer is not None:
            headers[hdrs.CACHE_CONTROL] = "private" if request.method in _ASKING else "no-store"
            if rev is not None:
                # Read before the answer, which may be newer than that, never older (X14).
                headers["Atproto-Repo-Rev"] = rev
        if config.on_answer is not None:
            config.on_answer(nsid, body)
        return body

    def _params(self, request: web.Request, nsid: Nsid) -> dict[str, Any]:
        """The parameters, checked, with defaults. Raises InvalidRequest."""
        asking = self._service.catalog.methods[nsid].kind != "procedure"
        if request.method not in (_ASKING if asking else _CALLING):
            raise InvalidRequest("Incorrect HTTP method")
        query = request.raw_path.partition("?")[2]
        try:
            raw = parse_qs(query, keep_blank_values=True, max_num_fields=1000) if query else {}
            return validate_params(self._service.catalog, nsid, raw)
        except Invalid as error:
            raise InvalidRequest(f"{error.path}: {error.reason}" if error.path else error.reason) from None
        except ValueError:
            raise InvalidRequest("too many parameters") from None

    def _media_type(self, method: str) -> str:
        output = self._service.catalog.methods[Nsid(method)].output
        return JSON if output in (None, "application/json") else output


async def _settled(viewer: Viewer | None) -> Rev | None:
    """Up to where the history of whoever asks is here; it is certain then who that is. Raises BadJwt where
    their token was used before, Mistaken where their session is another's or over."""
    if viewer is None or viewer.proviso is None:
        return None if viewer is None else viewer.rev
    return await viewer.proviso.settle()


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client takes gzip, by RFC 9110 §12.5.3."""
    weights: dict[str, str] = {}
    for item in accept_encoding.lower().split(","):
        coding, _, weight = item.partition(";")
        weights[coding.strip()] = weight.replace(" ", "").removeprefix("q=") or "1"
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight.strip("0.") != ""


def answered(
    body: bytes, accept_encoding: str | None, status: int = 200, *, media_type: str = JSON
) -> web.Response:
    """A good answer, compressed if it is worth it and welcome. What is no JSON is mostly hashes."""
    if media_type is not JSON:
        return web.Response(body=body, status=status, headers={**_HEADERS, hdrs.CONTENT_TYPE: media_type})
    if len(body) > COMPRESS_FROM and accept_encoding is not None and accepts_gzip(accept_encoding):
        # 31: the format of gzip files. Level 1 costs a tenth of zlib's 6, for a fifth more bytes.
        return web.Response(body=isal_zlib.compress(body, level=1, wbits=31), status=status, headers=_GZIPPED)
    return web.Response(body=body, status=status, headers=_PLAIN)


def failed(failure: Failure) -> web.Response:
    """A failure as every `/xrpc` route reports it."""
    response = web.Response(body=failure.body, status=failure.status, headers=_PLAIN)
    response.headers.update(failure.headers)
    return response


def preflight(request: web.Request) -> web.Response:
    """The answer to a browser's question before a request from another origin: yes, for a day."""
    response = web.Response(status=204)
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = "GET, HEAD, POST, OPTIONS"
    response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = "86400"
    response.headers[hdrs.VARY] = hdrs.ACCESS_CONTROL_REQUEST_HEADERS
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS)
    if asked:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = asked
    return response
