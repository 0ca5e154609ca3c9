"""What can go wrong for a caller, and the only place that knows which HTTP status that is.

    AppError
    ├── InvalidRequest          400  the request makes no sense
    ├── MethodNotImplemented    501  a method that we do not have
    ├── TrackNotFound           400  named by the lexicons
    ├── ActorNotFound           400
    ├── ListNotFound            400
    ├── RecordNotFound          400
    ├── ProofNotFound           400
    ├── RepoNotFound            400
    └── TooManySubscribers      503  the live feed has no place left

Storage's `Unavailable` and `TimedOut` become 503 and 504; everything else is a bug, hence 500, and tells
no more than an id that the log carries too (rules X2, X3).
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

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


class TooManySubscribers(AppError):
    """The live feed has no place left."""

    status = 503


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as HTTP will have it."""

    status: int
    name: str
    message: str
    retry_after_s: int | None = None

    @property
    def body(self) -> bytes:
        return orjson.dumps({"error": self.name, "message": self.message})


def failure_of(error: AppError | Unavailable | TimedOut) -> Failure:
    """The answer to an error that we expect."""
    match error:
        case Unavailable():
            return Failure(503, "ServiceUnavailable", "The database cannot be reached.", retry_after_s=1)
        case TimedOut():
            return Failure(504, "UpstreamTimeout", "The database took too long.", retry_after_s=1)
        case TooManySubscribers():
            return Failure(error.status, error.name, error.message, retry_after_s=30)
        case AppError():
            return Failure(error.status, error.name, error.message)


def internal(incident: str) -> Failure:
    """The answer to a bug: nothing but the id under which the log has it."""
    return Failure(500, "InternalServerError", f"Something went wrong here. It is logged as {incident}.")
