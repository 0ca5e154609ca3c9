"""appview/rest/answers.py: every way to fail has one form, and tells no more than it should."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from appview.auth.credentials import NoGrant, NotNow, SessionEnded
from appview.auth.grant import Refusal
from appview.pds import PdsUnreachable
from appview.rest.answers import Refused, rest
from storage.reader import TimedOut, Unavailable


def failed(error: Exception) -> tuple[int, object, web.StreamResponse]:
    """Status and detail of what becomes of an error."""

    async def handler(request: web.Request) -> web.StreamResponse:
        raise error

    response = asyncio.run(rest(handler)(make_mocked_request("GET", "/auth/me")))  # type: ignore[arg-type]
    assert isinstance(response, web.Response)
    assert response.headers["Cache-Control"] == "no-store"
    return response.status, orjson.loads(bytes(response.body or b""))["detail"], response  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Refused(400, "no"), 400, "no"),
        (SessionEnded("refresh_lost"), 401, "session_expired"),
        (NoGrant(), 403, "this token cannot act for its account"),
        (NotNow(Refusal.UNREACHABLE), 503, "the account's authorization server does not answer"),
        (PdsUnreachable(Refusal.UNREACHABLE), 502, "the account's PDS does not answer"),
        (Unavailable("dsn with a password"), 503, "the database cannot be reached"),
        (TimedOut("select secret"), 504, "the database took too long"),
    ],
)
def test_what_can_go_wrong_has_its_status(error: Exception, status: int, detail: str) -> None:
    assert failed(error)[:2] == (status, detail)


def test_what_nobody_expected_tells_an_id_alone() -> None:
    status, detail, _ = failed(RuntimeError("a secret"))
    assert status == 500
    assert "a secret" not in str(detail)


def test_who_is_not_signed_in_hears_how_to_be() -> None:
    assert failed(Refused(401, "x"))[2].headers["WWW-Authenticate"] == "Bearer"
