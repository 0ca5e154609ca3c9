"""What a person sees where a program reads `{"detail": …}`: the same failure as a page."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import hdrs, web

from appview.auth.cookies import wants_page
from appview.rest.answers import Refused
from appview.web.problems import reason
from appview.web.site import Site

_TITLES = {
    401: "You are not signed in",
    403: "That is not allowed",
    404: "There is nothing here",
    429: "That was too often",
}
_TEXTS = {
    404: "What you look for is gone, or never was at this address.",
    405: "This address takes what others send, and shows nothing by itself.",
}


def readable(site: Site) -> Callable[[web.Request, web.StreamResponse], web.StreamResponse]:
    """Makes a page of a failure that a person looks at, with the same status and headers; any other answer
    stays as it is."""

    def shown(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        detail = _detail(response) if wants_page(request) and not response.prepared else None
        if detail is None:
            return response
        status = response.status
        unsaid = detail == HTTPStatus(status).phrase
        values = {
            "title": _TITLES.get(status, "That did not work"),
            "text": _TEXTS.get(status, "") if unsaid else reason(Refused(status, detail)),
        }
        page = site.page("nothing.html", values, status=status)
        for name, value in response.headers.items():
            if name != hdrs.CONTENT_LENGTH:
                page.headers.setdefault(name, value)
        page.cookies.update(response.cookies)
        return page

    return shown


def _detail(response: web.StreamResponse) -> Any:
    """What a failure says to programs; None if it is none, or says it otherwise."""
    if (
        response.status < 400
        or not isinstance(response, web.Response)
        or not isinstance(response.body, bytes)
    ):
        return None
    try:
        told = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None
    return told.get("detail") if isinstance(told, dict) else None
