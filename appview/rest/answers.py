"""What every REST route shares: bodies that are checked, and failures as the frontend knows them.

`{"detail": text}`, and for a body that does not fit its shape 422 with a list of `{type, loc, msg, input}`.
What nobody expected is 500 with an id that the log carries, too, and nothing else.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import orjson
import psycopg
import structlog
from aiohttp import hdrs, web
from multidict import CIMultiDict

from appview.auth.credentials import NoGrant, NotNow, SessionEnded
from appview.errors import AppError, PayloadTooLarge
from appview.guards import SECURITY
from appview.incoming import Incoming
from appview.pds import PdsUnreachable
from appview.whole import Whole
from storage.blobs.rows import BeingDeleted
from storage.blobs.store import StoreDown
from storage.forgotten import Left
from storage.reader import TimedOut, Unavailable

log = structlog.get_logger()

T = TypeVar("T")
JSON = "application/json"
MAX_BODY = 64 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_HEADERS = CIMultiDict({hdrs.CONTENT_TYPE: JSON, hdrs.CACHE_CONTROL: "no-store", **SECURITY})


class Refused(Exception):
    """A REST answer that is a failure; `detail` is for people, or a word for programs."""

    def __init__(self, status: int, detail: str | dict[str, Any] | list[dict[str, Any]]) -> None:
        super().__init__(str(detail))
        self.status = status
        self.detail = detail


def answer(value: object, status: int = 200) -> web.Response:
    return answer_json(orjson.dumps(value), status=status)


def answer_json(*pieces: bytes, status: int = 200) -> web.Response:
    """The same with JSON that is written down already: one piece, or several that are to be joined."""
    return Whole(*pieces, status=status, headers=_HEADERS)


def rest(handler: Handler) -> Handler:
    """The handler with every way to fail turned into an answer."""

    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except AppError:
            raise  # the guard before every route answers it
        except Refused as refused:
            response = answer({"detail": refused.detail}, refused.status)
            if refused.status == 401:
                response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
            return response
        except (SessionEnded, Left):
            return answer({"detail": "session_expired"}, 401)
        except NoGrant:
            return answer({"detail": "this token cannot act for its account"}, 403)
        except NotNow:
            return _later(503, "the account's authorization server does not answer")
        except PdsUnreachable:
            return answer({"detail": "the account's PDS does not answer"}, 502)
        except StoreDown:
            return _later(503, "the blob store cannot be reached")
        except BeingDeleted:
            return _later(503, "the same file is being deleted at this moment")
        except (Unavailable, psycopg.OperationalError):
            return _later(503, "the database cannot be reached")
        except TimedOut:
            return _later(504, "the database took too long")
        except web.HTTPException:
            raise
        except Exception:
            incident = secrets.token_hex(6)
            # The route, not the path: a path may hold what somebody should have kept to themselves.
            resource = request.match_info.route.resource
            route = None if resource is None else resource.canonical
            log.exception("request failed", incident=incident, route=route)
            return answer({"detail": f"something went wrong here; it is logged as {incident}"}, 500)

    return handle


async def body_of(request: web.Request, shape: type[T], *, max_bytes: int = MAX_BODY) -> T:
    """The request's JSON body as a struct; members that it does not know are ignored. Raises Refused, and
    what `Incoming.read` does."""
    try:
        raw = await Incoming.of(request).read(max_bytes)
    except PayloadTooLarge:
        raise Refused(413, "the body is too large") from None
    try:
        return msgspec.json.decode(raw or b"{}", type=shape)
    except msgspec.ValidationError as error:
        raise Refused(422, [problem(str(error), "body")]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unread("body") from None


def object_in(raw: msgspec.Raw, name: str) -> dict[str, Any]:
    """The member of a body that may be any JSON object, as deep as an answer can be that shows it again.
    Raises Refused 422."""
    try:
        value = orjson.loads(bytes(raw))
        orjson.dumps({"of": [{name: value}]})
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise _unread("body", name) from None
    if not isinstance(value, dict):
        raise Refused(422, [problem(f"Expected `object` - at `$.{name}`", "body")])
    return value


def _unread(*loc: str) -> Refused:
    return Refused(422, [{"type": "json_invalid", "loc": [*loc], "msg": "JSON decode error", "input": None}])


def slashed(router: web.UrlDispatcher, path: str) -> None:
    """Send whoever asks for `path` without its last slash on, whatever they want of it."""

    async def moved(request: web.Request) -> web.StreamResponse:
        query = f"?{request.query_string}" if request.query_string else ""
        raise web.HTTPTemporaryRedirect(path + query)

    router.add_route("*", path.rstrip("/"), moved)


def problem(text: str, place: str) -> dict[str, Any]:
    """What does not fit, as the frontend reads it; the value itself is not repeated. `place`: `body` or
    `query`, and `text` is msgspec's."""
    reason, _, path = text.partition(" - at `$")
    loc: list[str] = [place, *filter(None, path.rstrip("`").lstrip(".").split("."))]
    start = "Object missing required field `"
    if reason.startswith(start):
        missing = reason.removeprefix(start).rstrip("`")
        return {"type": "missing", "loc": [*loc, missing], "msg": "Field required", "input": None}
    return {"type": "value_error", "loc": loc, "msg": reason, "input": None}


def _later(status: int, text: str) -> web.Response:
    response = answer({"detail": text}, status)
    response.headers[hdrs.RETRY_AFTER] = "1"
    return response
