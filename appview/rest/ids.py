"""The numbers by which REST names things."""

from __future__ import annotations

import re

from aiohttp import web

from appview.rest.answers import Refused

_ID = re.compile(r"[1-9][0-9]{0,17}")


def number(text: str) -> int | None:
    """What it is, if it can be the number of something; as large as Postgres has them."""
    return int(text) if _ID.fullmatch(text) else None


def id_of(request: web.Request, name: str) -> int:
    """A number of the path. Raises Refused 422."""
    id = number(request.match_info[name])
    if id is None:
        said = {"type": "int_parsing", "loc": ["path", name], "msg": "a number is expected", "input": None}
        raise Refused(422, [said])
    return id
