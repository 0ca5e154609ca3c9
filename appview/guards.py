"""What stands between the outside and every route: limits, foreign pages, the operator's secret, headers.

XRPC's routes ask the `Gate` themselves, since who asks is part of their answer, and their errors have a form
of their own. All others are behind `install`: it counts their requests by address, answers a browser's
question before a request from another origin, and turns a refusal into `{"detail": …}`.

A page of somebody else's can make a visitor's browser send us a request with our cookie in it. What changes
something is therefore taken from our own pages, from the origins that the operator named, and from what is no
browser: every browser of the last years says where a write comes from (Origin, Sec-Fetch-Site), and other
programs have nobody's cookies but their own. A bearer token in `Authorization` is never sent without a wish;
a password there is, once it was typed, so it counts like a cookie.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import orjson
from aiohttp import hdrs, web

from appview import errors
from appview.auth.cookies import SESSION
from appview.clients import Clients
from appview.errors import AdminClosed, AdminRequired, AppError, ForeignOrigin, Unauthenticated
from appview.limits import Limit, RateLimiter, Window
from appview.metrics import Metrics
from appview.viewer import Viewer

ViewerOf = Callable[[web.Request], Awaitable[Viewer | None]]

ADMIN_HEADER = "X-Admin-Token"
PREFLIGHT_S = 86_400
EXPOSED = (
    "Atproto-Content-Labelers, Atproto-Repo-Rev, ETag, Location, RateLimit-Limit, RateLimit-Policy, "
    "RateLimit-Remaining, RateLimit-Reset, Retry-After, Tus-Extension, Tus-Max-Size, Tus-Resumable, "
    "Tus-Version, Upload-Job, Upload-Length, Upload-Metadata, Upload-Offset"
)
_SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_XRPC = "/xrpc"
_UNCOUNTED = frozenset({"/health", "/metrics", "/robots.txt", "/.well-known/did.json"})
# A player asks for many parts of one sound. None of them costs more than the bytes that it sends. What is not
# there costs a question to the database, each time another one.
_MEDIA = ("/audio/", "/image/", "/private/")
# Each makes us ask a stranger's server, or is a try at guessing a secret.
_SIGN_IN = frozenset(
    {
        "/account/add",
        "/account/allow",
        "/account/tokens",
        "/auth/add-account/start",
        "/auth/developer-token/start",
        "/auth/exchange",
        "/auth/scope-upgrade/start",
        "/auth/start",
    }
)
# Pages that are made to stand within others; their own policy says so.
_EMBEDDED, _FRAMES = "/embed/", "X-Frame-Options"
_OPENER = "Cross-Origin-Opener-Policy"
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    _FRAMES: "DENY",
    _OPENER: "same-origin",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}
_HSTS = "max-age=31536000"


SIGN_IN_LIMIT = Limit(10, 60)


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """`limit` None: nobody is counted. `sign_in`: how often a client may take a step of signing in.
    `origins`: whose pages, besides our own, may use the REST routes with a visitor's cookie. `admin_token`
    None: what is the operator's is closed. `https`: how we are reached."""

    clients: Clients = field(default_factory=Clients)
    limit: Limit | None = None
    sign_in: Limit = SIGN_IN_LIMIT
    origins: frozenset[str] = frozenset()
    admin_token: str | None = None
    https: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who may ask: an account, or nobody in particular. `window` None: they are not counted."""

    viewer: Viewer | None = None
    window: Window | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        return {} if self.window is None else self.window.headers


class Gate:
    """Decides who comes in."""

    def __init__(self, config: GuardConfig, viewer_of: ViewerOf | None, metrics: Metrics) -> None:
        self.config = config
        self._viewer_of = viewer_of
        self._limiter = None if config.limit is None else RateLimiter(config.limit)
        self._sign_ins = None if config.limit is None else RateLimiter(config.sign_in)
        self._misses = None if config.limit is None else RateLimiter(config.limit)
        self._metrics = metrics

    async def admit(self, request: web.Request) -> Admitted:
        """Who asks, counted: an account by itself, wherever it asks from, everybody else by address.

        Raises RateLimitExceeded, ForeignOrigin, and what tells who asks raises. Credentials that do not hold
        are counted by address, too.
        """
        client = self.config.clients.address(request)
        if hdrs.COOKIE in request.headers and SESSION in request.cookies:
            self.check_origin(request)
        try:
            viewer = None if self._viewer_of is None else await self._viewer_of(request)
        except Unauthenticated:
            self.count(client)
            raise
        return Admitted(viewer, self.count(client if viewer is None else viewer.did))

    def count(self, client: str | None) -> Window | None:
        """One request of a client's. None, one of our own proxies or this machine, is not counted."""
        if self._limiter is None or client is None:
            return None
        return self._limiter.take(client)

    def count_sign_in(self, client: str | None) -> Window | None:
        """One step of signing in, which is dear."""
        if self._sign_ins is None or client is None:
            return None
        return self._sign_ins.take(client)

    def check_misses(self, client: str | None) -> None:
        """Raises RateLimitExceeded for who has asked too often for sound and images that are not there."""
        if self._misses is not None and client is not None and not self._misses.left(client):
            self._misses.take(client)

    def count_miss(self, client: str | None) -> None:
        if self._misses is not None and client is not None:
            self._misses.take(client)

    def check_origin(self, request: web.BaseRequest) -> None:
        """Raises ForeignOrigin if a page of somebody else's wants to change something."""
        if request.method in _SAFE:
            return
        has_cookie = hdrs.COOKIE in request.headers and SESSION in request.cookies
        authorization = request.headers.get(hdrs.AUTHORIZATION)
        if authorization is not None and not has_cookie and authorization[:5].lower() != "basic":
            return
        if request.headers.get("Sec-Fetch-Site") in ("same-origin", "none"):
            return
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            if "Sec-Fetch-Site" in request.headers:
                raise ForeignOrigin
            return
        scheme, _, host = origin.partition("://")
        own = host == request.host and (scheme == "https" or not self.config.https)
        if not own and origin not in self.config.origins:
            raise ForeignOrigin

    def is_led(self, request: web.BaseRequest) -> bool:
        """Whether somebody else's page brought this browser here, by a link or of its own accord."""
        if request.headers.get("Sec-Fetch-Site") != "cross-site":
            return False
        origin = "/".join(request.headers.get(hdrs.REFERER, "").split("/")[:3])
        return origin not in self.config.origins

    def require_admin(self, request: web.BaseRequest) -> None:
        """Raises AdminClosed if there is no secret, AdminRequired if the request does not have it, as
        `Basic admin:SECRET` or in X-Admin-Token (rule X20)."""
        secret = self.config.admin_token
        if not secret:
            raise AdminClosed
        given = request.headers.get(ADMIN_HEADER) or _basic(request.headers.get(hdrs.AUTHORIZATION, ""))
        if not hmac.compare_digest(given.encode(errors="surrogateescape"), secret.encode()):
            raise AdminRequired

    def refused(self, error: AppError) -> None:
        """Count a refusal by its name, if the error is one."""
        if error.status in (401, 403, 429):
            self._metrics.refused.labels(error.name).inc()


GATE = web.AppKey("gate", Gate)


def install(
    app: web.Application,
    gate: Gate,
    *,
    readable: Callable[[web.Request, web.StreamResponse], web.StreamResponse] = lambda _, response: response,
) -> None:
    """Put the gate before every route but XRPC's, and its headers on every answer. `readable` makes of a
    failure what whoever asks can read."""
    config = gate.config

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path.startswith(_XRPC):
            return await handler(request)
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return _preflight(request)
        try:
            gate.check_origin(request)
            window = None
            if request.path.startswith(_MEDIA):
                return await _of_media(request, handler)
            if request.path not in _UNCOUNTED:
                client = config.clients.address(request)
                window = gate.count(client)
                if request.path in _SIGN_IN:
                    window = gate.count_sign_in(client)
            response = await _answered(request, handler)
        except AppError as error:
            gate.refused(error)
            return readable(request, detailed(error))
        if response.status >= 400:
            response = readable(request, response)
        if window is not None and not response.prepared:
            response.headers.update(window.headers)
        return response

    async def _of_media(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        client = config.clients.address(request)
        gate.check_misses(client)
        response = await _answered(request, handler)
        if response.status in (404, 410):
            gate.count_miss(client)
        return response

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        if config.https:
            headers.setdefault(hdrs.STRICT_TRANSPORT_SECURITY, _HSTS)
        if request.path.startswith(_XRPC):
            return
        if _OPENER not in headers:  # who has it, has all of them
            for name, value in SECURITY.items():
                if name != _FRAMES or not request.path.startswith(_EMBEDDED):
                    headers.setdefault(name, value)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and hdrs.ACCESS_CONTROL_ALLOW_ORIGIN not in headers:
            headers.add(hdrs.VARY, hdrs.ORIGIN)
            if origin in config.origins:
                headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
                headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
                headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED

    app[GATE] = gate
    app.middlewares.append(guard)
    app.on_response_prepare.append(add_headers)


async def _answered(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The handler's answer; that there is none, or no such method, is said as every other failure."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        if error.text != f"{error.status}: {error.reason}":
            raise  # somebody had more to say
        response = web.json_response({"detail": error.reason}, status=error.status)
        if hdrs.ALLOW in error.headers:
            response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return response


def detailed(error: AppError) -> web.Response:
    """An error as every route but XRPC's tells it."""
    failure = errors.failure_of(error)
    return web.Response(
        body=orjson.dumps({"detail": failure.message}),
        status=failure.status,
        headers={hdrs.CONTENT_TYPE: "application/json; charset=utf-8", **failure.headers},
    )


def _preflight(request: web.Request) -> web.Response:
    """What a page may do, said to its browser; `install` adds whose page, if it is one that may anything."""
    response = web.Response(status=204)
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = _METHODS
    response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(PREFLIGHT_S)
    if request.path.startswith(_MEDIA):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS)
    if asked:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = asked
    return response


def _basic(header: str) -> str:
    """The password of `admin` in a Basic header, else nothing."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        name, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:  # neither base64 nor UTF-8, or a letter that is in no base64
        return ""
    return password if name == "admin" else ""
