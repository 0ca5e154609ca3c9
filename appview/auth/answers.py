"""What authorization servers answer, read with distrust. Pure.

A server may put anything into an answer, also what we told it: of its words none but the error
codes of the standards get into a message of ours, and nothing of what went wrong below HTTP.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from appview.auth.grant import Refusal, SignInFailed
from firehose.fetch_errors import Blocked, FetchFailed, TimedOut, TooLarge
from firehose.net import Response
from lexicons.syntax import Did, is_atproto_did

MAX_TOKEN = 16_384
MAX_SCOPE = 8_192
MAX_LIFE_S = 10 * 365 * 86_400

# RFC 6749 §4.1.2.1 and §5.2, 7009, 8628, 9126, 9449, and OpenID's for a sign-in that needs a person.
_ERROR_CODES = (
    "access_denied account_selection_required consent_required expired_token interaction_required"
    " invalid_client invalid_client_metadata invalid_dpop_proof invalid_grant invalid_redirect_uri"
    " invalid_request invalid_request_uri invalid_scope invalid_token login_required server_error"
    " slow_down temporarily_unavailable unauthorized_client unsupported_grant_type"
    " unsupported_response_type unsupported_token_type use_dpop_nonce"
)
ERROR_CODES = frozenset(_ERROR_CODES.split())


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token response that keeps the profile's rules. `life_s`: of the access token, None if untold."""

    sub: Did
    scope: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    life_s: float | None = None


@contextmanager
def translated() -> Generator[None]:
    """What goes wrong below HTTP, as a SignInFailed that repeats nothing of it."""
    try:
        yield
    except Blocked:
        raise SignInFailed(Refusal.BLOCKED, "an address that we do not go to") from None
    except TooLarge:
        raise SignInFailed(Refusal.BAD_SERVER, "an answer without an end") from None
    except TimedOut:
        raise SignInFailed(Refusal.UNREACHABLE, "no answer in time") from None
    except FetchFailed:
        raise SignInFailed(Refusal.UNREACHABLE, "no connection, or no valid answer") from None


def json_object(response: Response, otherwise: Refusal) -> Mapping[str, Any]:
    """The body of a 200 or 201 answer. Else SignInFailed: UNREACHABLE if later may help, or `otherwise`."""
    if response.status == 429 or response.status >= 500:
        raise SignInFailed(Refusal.UNREACHABLE, f"the server answered with status {response.status}")
    if response.status not in (200, 201):
        raise SignInFailed(otherwise, f"the server answered with status {response.status}")
    body = _object(response)
    if body is None:
        raise SignInFailed(otherwise, "the server's answer is no JSON object")
    return body


def error_code(response: Response) -> str | None:
    """The error that an answer names; None if it names none of the standards'."""
    return known_code((_object(response) or {}).get("error"))


def known_code(error: object) -> str | None:
    return error if isinstance(error, str) and error in ERROR_CODES else None


def read_request_uri(body: Mapping[str, Any]) -> str:
    """The `request_uri` of an answer to a pushed authorization request; raises SignInFailed (BAD_SERVER)."""
    uri = body.get("request_uri")
    if not isinstance(uri, str) or not 0 < len(uri) <= 2048:
        raise SignInFailed(Refusal.BAD_SERVER, "the server took the request, but gave no request_uri")
    return uri


def read_tokens(body: Mapping[str, Any]) -> Tokens:
    """The tokens of a token response; raises SignInFailed (BAD_TOKEN, WRONG_SCOPE)."""
    kind = body.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "dpop":
        raise SignInFailed(Refusal.BAD_TOKEN, "the server's tokens are not bound to our key")
    access, refresh = _token(body, "access_token"), _token(body, "refresh_token")
    if access is None or (refresh is None and body.get("refresh_token") is not None):
        raise SignInFailed(Refusal.BAD_TOKEN, "the server's answer has no token")
    sub, scope, life = body.get("sub"), body.get("scope"), body.get("expires_in")
    if not isinstance(sub, str) or not is_atproto_did(sub):
        raise SignInFailed(Refusal.BAD_TOKEN, "the server does not say whose token it is")
    if not isinstance(scope, str) or len(scope) > MAX_SCOPE:
        raise SignInFailed(Refusal.BAD_TOKEN, "the server does not say what the token allows")
    if "atproto" not in scope.split(" "):
        raise SignInFailed(Refusal.WRONG_SCOPE, "the scope atproto was not granted")
    if life is not None and not (type(life) in (int, float) and 0 < life <= MAX_LIFE_S):
        raise SignInFailed(Refusal.BAD_TOKEN, "the token lives for no number of seconds")
    return Tokens(Did(sub), scope, access, refresh, life)


def is_token(text: str) -> bool:
    """True for what can be a token or a code: visible ASCII, of a length that a request can carry."""
    return 0 < len(text) <= MAX_TOKEN and all("!" <= char <= "~" for char in text)


def _token(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) and is_token(value) else None


def _object(response: Response) -> Mapping[str, Any] | None:
    try:
        body = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None
    return cast("Mapping[str, Any]", body) if isinstance(body, dict) else None
