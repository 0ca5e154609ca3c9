"""Lanes: how many ask one host at once, and when nobody does."""

from __future__ import annotations

import asyncio

import pytest

from firehose.lanes import Lanes, Resting

HOST = "https://pds.example"


class Clock:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lanes(clock: Clock) -> Lanes:
    return Lanes(2, now=clock, spread=lambda: 1.0)


async def rests(lanes: Lanes) -> float | None:
    try:
        async with lanes.turn(HOST):
            return None
    except Resting as rest:
        return rest.wait_s


async def test_a_host_is_asked_by_so_many_at_once_and_no_more(lanes: Lanes) -> None:
    at_once = most = 0

    async def ask(origin: str) -> None:
        nonlocal at_once, most
        async with lanes.turn(origin):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= 1

    await asyncio.gather(*(ask(HOST) for _ in range(9)))
    assert most == 2
    await asyncio.gather(*(ask(f"{HOST}{n}") for n in range(9)))
    assert most == 9


async def test_a_lane_is_free_until_its_slots_are_taken(lanes: Lanes) -> None:
    assert lanes.free(HOST)
    async with lanes.turn(HOST):
        assert lanes.free(HOST)
        async with lanes.turn(HOST):
            assert not lanes.free(HOST)
    assert lanes.free(HOST)


async def test_a_limited_host_rests_as_long_as_it_says(lanes: Lanes, clock: Clock) -> None:
    assert lanes.limit(HOST, 120) == 120
    assert await rests(lanes) == 120
    assert not lanes.free(HOST)
    clock.s += 119
    assert await rests(lanes) == 1
    clock.s += 1
    assert await rests(lanes) is None
    assert await rests(lanes) is None


async def test_t40_a_limit_without_a_time_backs_off_further_each_time(lanes: Lanes, clock: Clock) -> None:
    rested = []
    for _ in range(9):
        rested.append(lanes.limit(HOST, None))
        clock.s += rested[-1]
    assert rested == [5, 10, 20, 40, 80, 160, 300, 300, 300]


async def test_t40_limits_of_requests_that_went_out_together_count_once(lanes: Lanes) -> None:
    assert [lanes.limit(HOST, None) for _ in range(4)] == [5, 5, 5, 5]


async def test_a_limit_beyond_an_hour_is_an_hour(lanes: Lanes) -> None:
    assert lanes.limit(HOST, 10**8) == 3600


async def test_whoever_waits_for_a_slot_learns_that_the_host_rests(lanes: Lanes) -> None:
    async def hold() -> None:
        async with lanes.turn(HOST):
            await asyncio.sleep(0.02)
            lanes.limit(HOST, 30)

    outcomes = await asyncio.gather(hold(), hold(), rests(lanes))
    assert outcomes[2] == 30


async def test_single_failures_let_no_host_rest_and_three_in_a_row_do(lanes: Lanes) -> None:
    for _ in range(5):
        lanes.failed(HOST)
        lanes.failed(HOST)
        lanes.answered(HOST)
    assert await rests(lanes) is None
    for _ in range(3):
        lanes.failed(HOST)
    assert await rests(lanes) == 5


async def test_the_back_off_starts_over_only_after_a_healthy_minute(lanes: Lanes, clock: Clock) -> None:
    assert lanes.limit(HOST, None) == 5
    clock.s += 30
    lanes.answered(HOST)
    assert lanes.limit(HOST, None) == 10
    clock.s += 70
    lanes.answered(HOST)
    assert lanes.limit(HOST, None) == 5


async def test_back_offs_are_spread(clock: Clock) -> None:
    assert Lanes(now=clock, spread=lambda: 0.0).limit(HOST, None) == 2.5


async def test_lanes_of_hosts_that_nobody_asks_are_forgotten(clock: Clock) -> None:
    lanes = Lanes(now=clock)
    for n in range(10_000):
        lanes.answered(f"https://{n}.example")
    lanes.limit(HOST, 3000)
    assert len(lanes._lanes) < 10
    clock.s += 1
    for n in range(10_000):
        lanes.answered(f"https://{n}.example")
    assert await rests(lanes) == 2999
