"""Sweeps: jobs for what waits for one, some at once, so that nobody waits behind thousands of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from storage import jobs
from storage.postgres import Connection

AT_ONCE = 20

T = TypeVar("T")
Thing = TypeVar("Thing", covariant=True)


class Due(Protocol[Thing]):
    def __call__(self, *, limit: int) -> Awaitable[Sequence[Thing]]: ...


async def begin(conn: Connection, kind: str, due: Due[T], want: Callable[[T], Awaitable[bool]]) -> int:
    """How many jobs of this kind were begun: no more than make AT_ONCE that are unfinished. `due` has what
    waits; `want` puts one of it into the queue, each in a transaction of its own, and says whether it did."""
    room_for = max(0, AT_ONCE - (await jobs.unfinished(conn)).get(kind, 0))
    begun = 0
    for one in await due(limit=room_for):
        async with conn.transaction():
            begun += await want(one)
    return begun
