"""What a REST route takes and gives, said beside its handler; the OpenAPI document is made of nothing else.

@described("Tracks that the asker likes, latest first", answer=shapes.TrackPage, auth=Auth.SESSION)
async def liked(self, request: web.Request) -> web.StreamResponse: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from appview.rest.answers import JSON, Refused, problem

T = TypeVar("T")
_H = TypeVar("_H", bound=Callable[..., Any])
_ATTRIBUTE = "rest_spec"


class Auth(StrEnum):
    NOBODY = "nobody"  # who asks makes no difference
    OPTIONAL = "optional"  # a key that does not hold is as none
    SESSION = "session"  # a session, by cookie or as a bearer, or a developer token
    ACTOR = "actor"  # and it must be allowed to write in the account's name
    OPERATOR = "operator"  # who has the operator's secret


@dataclass(frozen=True, slots=True)
class Spec:
    """`answer`, `query`, `body`: types that msgspec has a schema for; `form`: the parts of a
    multipart/form-data body, `bytes` for a file; those named in `optional` may be absent. `answer` None: the
    answer is no JSON, but of the type `media`, or empty where that is None, too. `errors`: the statuses that
    are meant, each with what it says."""

    summary: str
    answer: Any = None
    auth: Auth = Auth.NOBODY
    query: type | None = None
    body: Any = None
    form: Mapping[str, type] = field(default_factory=dict[str, type])
    optional: frozenset[str] = frozenset()
    errors: Mapping[int, str] = field(default_factory=dict[int, str])
    status: int = 200
    media: str | None = JSON


def described(
    summary: str,
    *,
    answer: Any = None,
    auth: Auth = Auth.NOBODY,
    query: type | None = None,
    body: Any = None,
    form: Mapping[str, type] | None = None,
    optional: frozenset[str] = frozenset(),
    errors: Mapping[int, str] | None = None,
    status: int = 200,
    media: str | None = JSON,
) -> Callable[[_H], _H]:
    """The handler, with its spec."""
    spec = Spec(summary, answer, auth, query, body, form or {}, optional, errors or {}, status, media)

    def decorate(handler: _H) -> _H:
        setattr(handler, _ATTRIBUTE, spec)
        return handler

    return decorate


def spec_of(handler: Any) -> Spec | None:
    """What was said of a handler, through what `rest` puts around it."""
    found = getattr(handler, _ATTRIBUTE, None)
    return found if isinstance(found, Spec) else None


def query_of(request: web.Request, shape: type[T]) -> T:
    """The query as a struct, numbers and booleans out of their text; parameters that it does not know are
    ignored, and of one that comes twice the first counts. Raises Refused 422."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        given.setdefault(name, value)
    try:
        return msgspec.convert(given, type=shape, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(422, [problem(str(error), "query")]) from None
