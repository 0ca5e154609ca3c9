"""The numbers by which REST names things."""

from __future__ import annotations

import re

from aiohttp import web

from appview.rest.answers import Refused

_ID = re.compile(r"[1-9]\d{0,17}")


def id_of(request: web.Request, name: str) -> int:
    """A number of the path. Raises Refused 422."""
    text = request.match_info[name]
    if _ID.fullmatch(text) is None:
        said = {"type": "int_parsing", "loc": ["path", name], "msg": "a number is expected", "input": None}
        raise Refused(422, [said])
    return int(text)
