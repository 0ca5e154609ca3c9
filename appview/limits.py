"""How much one client may ask for: so many requests in each window of time. In memory, for this process.

A client that is not remembered any more begins a new window, so that the table's bound is kept in favour
of whoever asks: a limiter that is full, or has just been started, lets pass.

    limit 3 in 60 s    12:00:10 → 2 left, 12:00:20 → 1, 12:00:30 → 0, 12:00:40 → refused until 12:01:10
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from appview.errors import RateLimitExceeded

MOST_CLIENTS = 50_000


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in each window of so many seconds."""

    requests: int
    window_s: int


@dataclass(slots=True)
class Window:
    """What a client has left until its window ends, at `ends_at` in seconds since 1970."""

    limit: Limit
    left: int
    ends_at: float
    _told: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._told = {
            "RateLimit-Limit": str(self.limit.requests),
            "RateLimit-Reset": str(math.ceil(self.ends_at)),
            "RateLimit-Policy": f"{self.limit.requests};w={self.limit.window_s}",
        }

    @property
    def headers(self) -> dict[str, str]:
        """As PDSs tell it (rule X16): `RateLimit-Reset` is a time, not a span."""
        return {**self._told, "RateLimit-Remaining": str(self.left)}


class RateLimiter:
    """Counts requests by client: any key that stands for one."""

    def __init__(
        self, limit: Limit, *, most_clients: int = MOST_CLIENTS, now: Callable[[], float] = time.time
    ) -> None:
        self._limit = limit
        self._most_clients = most_clients
        self._now = now
        self._windows: OrderedDict[Hashable, Window] = OrderedDict()  # by their beginning, oldest first

    def __len__(self) -> int:
        return len(self._windows)

    def left(self, client: Hashable) -> int:
        """How many requests it could make now."""
        window = self._current(client, self._now())
        return self._limit.requests if window is None else window.left

    def _current(self, client: Hashable, now: float) -> Window | None:
        """Its window, if one is open; one that ends too late was begun before the clock was set back."""
        window = self._windows.get(client)
        return window if window and now < window.ends_at <= now + self._limit.window_s else None

    def take(self, client: Hashable) -> Window:
        """One request of this client's, and what is left to it. Raises RateLimitExceeded."""
        now = self._now()
        window = self._current(client, now)
        if window is None:
            window = Window(self._limit, self._limit.requests, now + self._limit.window_s)
            self._windows[client] = window
            self._windows.move_to_end(client)
            if len(self._windows) > self._most_clients:
                self._windows.popitem(last=False)
        if window.left <= 0:
            raise RateLimitExceeded(max(1, math.ceil(window.ends_at - now)), window.headers)
        window.left -= 1
        return window
