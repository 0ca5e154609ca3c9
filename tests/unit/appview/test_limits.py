"""Counting clients: windows, and a table that never grows beyond its bound."""

from __future__ import annotations

import pytest

from appview.errors import RateLimitExceeded
from appview.limits import Limit, RateLimiter


def limiter(clock: list[float], *, most_clients: int = 100) -> RateLimiter:
    return RateLimiter(Limit(2, 60), most_clients=most_clients, now=lambda: clock[0])


def test_a_window_ends_for_each_client_by_itself():
    clock = [1000.0]
    limits = limiter(clock)
    assert [limits.take("a").left for _ in range(2)] == [1, 0]
    clock[0] = 1030.5
    assert limits.take("b").left == 1
    with pytest.raises(RateLimitExceeded) as refused:
        limits.take("a")
    assert refused.value.retry_after_s == 30
    clock[0] = 1060.0
    assert limits.take("a").ends_at == 1120.0
    assert limits.take("b").left == 0


def test_a_refused_request_prolongs_nothing():
    clock = [1000.0]
    limits = limiter(clock)
    for _ in range(2):
        limits.take("a")
    for second in range(59):
        clock[0] = 1000.0 + second
        with pytest.raises(RateLimitExceeded):
            limits.take("a")
    clock[0] = 1060.0
    assert limits.take("a").left == 1


def test_a_flood_of_clients_takes_no_more_room_and_lets_the_forgotten_begin_anew():
    clock = [1000.0]
    limits = limiter(clock, most_clients=10)
    for _ in range(2):
        limits.take("a")
    for number in range(1000):
        limits.take(number)
        assert len(limits) <= 10
    assert limits.take("a").left == 1


def test_a_clock_that_was_set_back_locks_nobody_out():
    clock = [10_000.0]
    limits = limiter(clock)
    for _ in range(2):
        limits.take("a")
    clock[0] = 1000.0
    assert limits.take("a").left == 1
