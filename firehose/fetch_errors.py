"""Why a request to a foreign host came to nothing.

FetchFailed
├── Blocked        the URL, or an address behind it, is none that we go to
├── TooLarge       the body is larger than the caller allowed
├── TimedOut       the whole exchange took longer than the caller allowed
│   └── TooSlow    download: a body that stood still, or came in more slowly than allowed
├── Unreachable    no connection, or no valid answer
│   └── NoSuchHost the host's name certainly has no address
├── BadStatus      get_json, body: the answer's status is not 200
└── BadBody        get_json: the body is not JSON
"""

from __future__ import annotations


class FetchFailed(Exception):
    """A request to a foreign host gave no usable answer."""


class Blocked(FetchFailed):
    """The URL, or an address that its host resolves to, is none that we go to."""


class TooLarge(FetchFailed):
    """The body is larger than the caller allowed."""


class TimedOut(FetchFailed):
    """The exchange, redirects and body included, took longer than the caller allowed."""


class TooSlow(TimedOut):
    """The body stood still, or came in more slowly than the caller allowed."""


class Unreachable(FetchFailed):
    """No connection, or no valid HTTP answer."""


class NoSuchHost(Unreachable):
    """The host's name certainly has no address."""


class BadStatus(FetchFailed):
    """The answer's status is not 200."""

    def __init__(self, url: str, status: int, retry_after_s: float | None) -> None:
        super().__init__(f"{url}: HTTP status {status}")
        self.status = status
        self.retry_after_s = retry_after_s


class BadBody(FetchFailed):
    """The body is not what was asked for."""
