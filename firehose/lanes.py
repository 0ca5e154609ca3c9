"""How often a foreign host is asked at once, and how long it is left alone after it failed.

All who ask the same host share one lane: at most `per_host` of them at once, the others wait in
order. Nobody asks a host that rests; `turn` raises `Resting` at once, with the seconds left.

    429, with or without a time   rests for the time named, else for a back-off
    failed                        rests for a back-off from the third failure in a row on
    answered                      ends the row of failures; the back-off starts over only when
                                  no failure was seen for 60 seconds

The back-off doubles from 5 seconds to 5 minutes, and is spread at random so that hosts that failed
together do not return together. Kept in memory: what must outlive the process is the caller's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

MAX_REST_S = 3600.0
_FIRST_REST_S = 5.0
_LAST_REST_S = 300.0
_HEALTHY_S = 60.0
_FAILURES_IN_A_ROW = 3
_MAX_LANES = 10_000


class Resting(Exception):
    """The host is left alone for `wait_s` seconds more; `limited` if because it asked for that."""

    def __init__(self, origin: str, wait_s: float, *, limited: bool) -> None:
        super().__init__(f"{origin} is left alone for {wait_s:.0f} s more")
        self.wait_s = wait_s
        self.limited = limited


@dataclass(slots=True)
class _Lane:
    slots: asyncio.Semaphore
    users: int = 0
    rests_until: float = 0.0
    limited: bool = False
    backoffs: int = 0
    failures: int = field(default=0)  # in a row
    failed_at: float = float("-inf")


class Lanes:
    """One lane for each host's origin. `now` tells seconds that only grow; `spread` gives 0 to 1."""

    def __init__(
        self,
        per_host: int = 4,
        *,
        now: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._per_host = per_host
        self._now = now
        self._spread = spread
        self._lanes: dict[str, _Lane] = {}

    @asynccontextmanager
    async def turn(self, origin: str) -> AsyncGenerator[None]:
        """Holds one of the host's slots. Raises `Resting` instead where the host rests."""
        lane = self._lane(origin)
        self._check(origin, lane)
        lane.users += 1
        try:
            async with lane.slots:
                self._check(origin, lane)
                yield
        finally:
            lane.users -= 1

    def rest_s(self, origin: str) -> float:
        """Seconds for which the host is left alone, 0 if it may be asked now."""
        lane = self._lanes.get(origin)
        return 0.0 if lane is None else max(0.0, lane.rests_until - self._now())

    def free(self, origin: str) -> bool:
        """True if `turn` would neither wait nor raise."""
        lane = self._lanes.get(origin)
        return lane is None or (lane.rests_until <= self._now() and not lane.slots.locked())

    def answered(self, origin: str) -> None:
        """The host gave a proper answer, be it a refusal."""
        lane = self._lane(origin)
        lane.failures = 0
        if self._now() - lane.failed_at >= _HEALTHY_S:
            lane.backoffs = 0

    def failed(self, origin: str) -> None:
        """The host gave no answer, or none that can be used."""
        lane = self._lane(origin)
        lane.failures += 1
        lane.failed_at = self._now()
        if lane.failures >= _FAILURES_IN_A_ROW:
            self._rest(lane, self._backoff_s(lane), limited=False)

    def limit(self, origin: str, retry_after_s: float | None) -> float:
        """The host asks to be left alone; returns for how many seconds it is."""
        lane = self._lane(origin)
        lane.failed_at = self._now()
        # a number of requests that were under way together count once
        if retry_after_s is None and not (lane.limited and lane.rests_until > self._now()):
            retry_after_s = self._backoff_s(lane)
        if retry_after_s is not None:
            self._rest(lane, min(retry_after_s, MAX_REST_S), limited=True)
        return self.rest_s(origin)

    def _backoff_s(self, lane: _Lane) -> float:
        full = min(_LAST_REST_S, _FIRST_REST_S * 2 ** min(lane.backoffs, 16))
        lane.backoffs += 1
        return full * (0.5 + 0.5 * self._spread())

    def _rest(self, lane: _Lane, rest_s: float, *, limited: bool) -> None:
        until = self._now() + rest_s
        if until >= lane.rests_until:
            lane.rests_until = until
            lane.limited = limited

    def _check(self, origin: str, lane: _Lane) -> None:
        wait_s = lane.rests_until - self._now()
        if wait_s > 0:
            raise Resting(origin, wait_s, limited=lane.limited)

    def _lane(self, origin: str) -> _Lane:
        lane = self._lanes.get(origin)
        if lane is None:
            if len(self._lanes) >= _MAX_LANES:
                self._forget()
            lane = self._lanes[origin] = _Lane(asyncio.Semaphore(self._per_host))
        return lane

    def _forget(self) -> None:
        """Drops the lanes that nobody uses and that hold no back-off: strangers name the hosts."""
        now = self._now()
        for origin, lane in list(self._lanes.items()):
            if not lane.users and lane.rests_until <= now and now - lane.failed_at >= _HEALTHY_S:
                del self._lanes[origin]
