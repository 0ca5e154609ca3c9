"""The body of a call, as its lexicon says (rule X5): JSON is read and checked, all else is on its way in."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import hdrs, web

from appview.errors import InvalidRequest
from appview.incoming import Incoming
from lexicons.catalog import Catalog
from lexicons.syntax import Nsid
from lexicons.validate import Invalid, validate_input

MAX_JSON_BYTES = 1024 * 1024
_JSON = "application/json"


async def body_of(request: web.Request, catalog: Catalog, nsid: Nsid) -> tuple[Any, Incoming | None]:
    """The JSON body of a call, or one of another type as a stream; neither where the method takes none.
    Raises InvalidRequest, PayloadTooLarge, IncompleteBody, RequestTimeout."""
    method = catalog.methods[nsid]
    if method.kind != "procedure":
        return None, None
    if method.input is None:
        if request.can_read_body:
            raise InvalidRequest("this method takes no body")
        return None, None
    if hdrs.CONTENT_TYPE not in request.headers:
        raise InvalidRequest("Content-Type is missing")
    if not matches(method.input, request.content_type):
        raise InvalidRequest(f"the body must be {method.input}, not {request.content_type}")
    body = Incoming.of(request)
    if method.input != _JSON:
        return None, body
    try:
        value = orjson.loads(await body.read(MAX_JSON_BYTES))
        validate_input(catalog, nsid, value)
    except orjson.JSONDecodeError:
        raise InvalidRequest("the body is no JSON") from None
    except Invalid as error:
        raise InvalidRequest(f"{error.path}: {error.reason}" if error.path else error.reason) from None
    return value, None


def matches(encoding: str, media_type: str) -> bool:
    """Whether a lexicon's `encoding`, which may be `*/*` or `audio/*`, takes this media type."""
    kind = encoding.partition("/")[0]
    return encoding in ("*/*", media_type) or (
        encoding.endswith("/*") and media_type.partition("/")[0] == kind
    )
