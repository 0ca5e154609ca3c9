"""What can go wrong for a caller, and the only place that knows which HTTP status that is.

    AppError
    ├── InvalidRequest          400  the request makes no sense
    ├── IncompleteBody          400  its body ended early, or stood still
    ├── RequestTimeout          408  its head, or a small body, was not whole in time
    ├── PayloadTooLarge         413  its body is larger than it may be
    ├── MethodNotImplemented    501  a method that we do not have
    ├── TrackNotFound           400  named by the lexicons
    ├── ActorNotFound           400
    ├── ListNotFound            400
    ├── RecordNotFound          400
    ├── ProofNotFound           400
    ├── RepoNotFound            400
    ├── JobNotFound             400
    ├── TooManySubscribers      503  the live feed has no place left
    ├── Unauthenticated         401  credentials that do not hold; answered with a challenge
    │   ├── AuthenticationRequired   none, or of a kind that we do not take
    │   ├── AdminRequired            the operator's secret is not there, or another
    │   ├── InvalidToken             no session or developer token, or not any more
    │   └── BadJwt                   no token that a service may come with
    │       ├── BadJwtType           a token for another purpose
    │       ├── JwtExpired
    │       ├── BadJwtAudience       for another service
    │       ├── BadJwtLexiconMethod  for another method, or for any
    │       ├── BadJwtIss            nobody who could have signed it
    │       └── BadJwtSignature
    ├── ForeignOrigin           403  a page of somebody else's acts with a visitor's cookie
    ├── SignInNeeded            403  there is no grant to act with in the account's name
    ├── ScopeMissing            403  there is one, and it does not cover this
    ├── AppealRefused           403  an appeal of somebody else's, or against nothing
    ├── RateLimitExceeded       429  the client's requests of this while are used up
    ├── TooManyUploads          429  others of the account's have to end first
    ├── TooManyFollowed         429  the account follows as many jobs as it may
    ├── TooManyFollowers        503  as many jobs are followed here as may be
    ├── NotCountedYet           503  a job has to count first, and will
    ├── UpstreamFailure         502  whom we have to ask gives no answer
    └── AdminClosed             503  no secret is set, so nobody has it

Storage's `Unavailable`, `StoreDown` and `TimedOut` become 503 and 504; everything else is a bug, hence 500,
and tells no more than an id that the log carries too (rules X2, X3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
import psycopg
from aiohttp import hdrs

from storage.blobs.store import StoreDown
from storage.reader import TimedOut, Unavailable


class AppError(Exception):
    """The docstring of the subclass is the message, unless one is given."""

    status = 400

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def message(self) -> str:
        return str(self) or (type(self).__doc__ or "")


class InvalidRequest(AppError):
    """The request makes no sense."""


class IncompleteBody(AppError):
    """The body ended before it was whole, or stood still for too long."""


class RequestTimeout(AppError):
    """The request did not come in time."""

    status = 408


class PayloadTooLarge(AppError):
    """The body is larger than it may be."""

    status = 413


class MethodNotImplemented(AppError):
    """There is no such method here."""

    status = 501


class TrackNotFound(AppError):
    """There is no such track, or it cannot be shown."""


class ActorNotFound(AppError):
    """There is no such account here, or it cannot be shown."""


class ListNotFound(AppError):
    """There is no such list, or it cannot be shown."""


class RecordNotFound(AppError):
    """There is no such record, or it cannot be shown."""


class ProofNotFound(AppError):
    """Nothing signed that leads to this record was kept."""


class RepoNotFound(AppError):
    """We know of no such account."""


class JobNotFound(AppError):
    """There is no such job of this account."""


class TooManySubscribers(AppError):
    """The live feed has no place left."""

    status = 503


class Unauthenticated(AppError):
    """The credentials do not hold."""

    status = 401

    @property
    def challenge(self) -> str:
        """For `WWW-Authenticate` (RFC 6750 §3)."""
        return f'Bearer error="invalid_token", error_description="{self.name}"'


class AuthenticationRequired(Unauthenticated):
    """This takes a token, as `Authorization: Bearer`."""

    @property
    def challenge(self) -> str:
        return "Bearer"


class InvalidToken(Unauthenticated):
    """There is no such session or developer token, or not any more."""


class BadJwt(Unauthenticated):
    """This is no token that a service may come with."""


class BadJwtType(BadJwt):
    """This token has another purpose."""


class JwtExpired(BadJwt):
    """The token has expired."""


class BadJwtAudience(BadJwt):
    """The token is for another service."""


class BadJwtLexiconMethod(BadJwt):
    """The token is for another method."""


class BadJwtIss(BadJwt):
    """The token's issuer is no account whose key is known."""


class BadJwtSignature(BadJwt):
    """The token was not signed by its issuer."""


class AdminRequired(Unauthenticated):
    """This takes the operator's secret."""

    @property
    def challenge(self) -> str:
        return 'Basic realm="admin"'


class ForeignOrigin(AppError):
    """This is changed from our own pages alone."""

    status = 403


class SignInNeeded(AppError):
    """This server may not write to your account: sign in here once, then try again."""

    status = 403


class ScopeMissing(AppError):
    """What was granted at sign-in does not cover this: sign in again, and allow it."""

    status = 403


class AppealRefused(AppError):
    """Only whose it is may appeal, and only against a decision."""

    status = 403


class TooManyUploads(AppError):
    """Too many unfinished uploads: wait until one of them has ended."""

    status = 429


class TooManyFollowed(AppError):
    """You follow too much at once: leave one, then try again."""

    status = 429


class TooManyFollowers(AppError):
    """Too many follow what is done here: ask again in a while."""

    status = 503


class RateLimitExceeded(AppError):
    """Too many requests."""

    status = 429

    def __init__(self, retry_after_s: int, window: Mapping[str, str]) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s
        self.window = window  # as headers


class UpstreamFailure(AppError):
    """Whom we have to ask for this gives no answer."""

    status = 502


class NotCountedYet(AppError):
    """There is too much to count it while you wait; it is counted in the background."""

    status = 503


class AdminClosed(AppError):
    """This server has no secret for its operator."""

    status = 503


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as HTTP will have it."""

    status: int
    name: str
    message: str
    retry_after_s: int | None = None
    challenge: str | None = None
    window: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def body(self) -> bytes:
        return orjson.dumps({"error": self.name, "message": self.message})

    @property
    def headers(self) -> dict[str, str]:
        """What a client learns beside the body: when to come again, and what to bring."""
        headers = dict(self.window)
        if self.retry_after_s is not None:
            headers[hdrs.RETRY_AFTER] = str(self.retry_after_s)
        if self.challenge is not None:
            headers[hdrs.WWW_AUTHENTICATE] = self.challenge
        return headers


def failure_of(error: AppError | Unavailable | TimedOut | StoreDown | psycopg.OperationalError) -> Failure:
    """The answer to an error that we expect."""
    match error:
        case StoreDown():
            return Failure(503, "ServiceUnavailable", "The blob store cannot be reached.", retry_after_s=5)
        case Unavailable() | psycopg.OperationalError():
            return Failure(503, "ServiceUnavailable", "The database cannot be reached.", retry_after_s=1)
        case TimedOut():
            return Failure(504, "UpstreamTimeout", "The database took too long.", retry_after_s=1)
        case (
            TooManySubscribers() | TooManyUploads() | TooManyFollowed() | TooManyFollowers() | NotCountedYet()
        ):
            return Failure(error.status, error.name, error.message, retry_after_s=30)
        case RateLimitExceeded():
            again_s, window = error.retry_after_s, error.window
            return Failure(error.status, error.name, error.message, retry_after_s=again_s, window=window)
        case UpstreamFailure():
            return Failure(error.status, error.name, error.message, retry_after_s=5)
        case Unauthenticated():
            return Failure(error.status, error.name, error.message, challenge=error.challenge)
        case AppError():
            return Failure(error.status, error.name, error.message)


def internal(incident: str) -> Failure:
    """The answer to a bug: nothing but the id under which the log has it."""
    return Failure(500, "InternalServerError", f"Something went wrong here. It is logged as {incident}.")
