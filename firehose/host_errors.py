"""What a host of repos says instead of an answer.

    HostError                   `retry_after_s` where the host, or our patience with it, sets a time
    ├── RepoUnavailable         the host knows about the repo and does not give it: see `status`
    │   ├── RepoNotFound        status deleted: or it was never there
    │   ├── RepoTakendown
    │   ├── RepoSuspended
    │   ├── RepoDeactivated
    │   └── RepoDesynchronized  the host itself has to catch up
    ├── RateLimited             429 in whatever form (T40), or the host still rests after one
    ├── MethodMissing           this kind of host has no such method
    └── HostUnreachable         no answer, 5xx, HTML for JSON, a blocked address: says nothing about the repo
        └── HostRefused         a refusal of another name, or more bytes than we take

Cannot tell never means gone (rule C6): only a `RepoUnavailable` says something about an account, and
only if its *current* PDS said it (rule C5); who is asked is for the caller to choose.
"""

from __future__ import annotations

from typing import ClassVar


class HostError(Exception):
    """The host did not give what it was asked for."""

    def __init__(self, origin: str, what: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{origin}: {what}")
        self.origin = origin
        self.retry_after_s = retry_after_s


class RepoUnavailable(HostError):
    """The host knows about the repo and does not give it; `status` as in `getRepoStatus`."""

    status: ClassVar[str] = "inactive"


class RepoNotFound(RepoUnavailable):
    """The host has no such repo: deleted, or never there."""

    status = "deleted"


class RepoTakendown(RepoUnavailable):
    """The host took the repo down."""

    status = "takendown"


class RepoSuspended(RepoUnavailable):
    """The host suspended the account for a time."""

    status = "suspended"


class RepoDeactivated(RepoUnavailable):
    """The account's owner deactivated it; after a migration, the old host says so too."""

    status = "deactivated"


class RepoDesynchronized(RepoUnavailable):
    """The host follows the repo and has lost its thread."""

    status = "desynchronized"


class RateLimited(HostError):
    """Too many requests; `retry_after_s` is for how long the host is left alone."""


class MethodMissing(HostError):
    """The host has no such method."""


class HostUnreachable(HostError):
    """No usable answer; the repo may be as well as ever."""


class HostRefused(HostUnreachable):
    """A 4xx whose name says nothing about a repo, or an answer of more bytes than we take."""


# By the name that an XRPC error has.
UNAVAILABLE: dict[str, type[RepoUnavailable]] = {
    "RepoNotFound": RepoNotFound,
    "RepoDeleted": RepoNotFound,
    "RepoTakendown": RepoTakendown,
    "RepoSuspended": RepoSuspended,
    "RepoDeactivated": RepoDeactivated,
    "RepoDesynchronized": RepoDesynchronized,
    "RepoNotSynchronized": RepoDesynchronized,
    "RepoInactive": RepoUnavailable,
}
