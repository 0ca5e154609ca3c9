"""Places in the queue: a ticket of procrastinate's for each attempt at a job.

Contract: an unfinished job has a ticket, one that waits (`todo`, at most one) or one that somebody holds
(`doing`, at most one), and both are written in the transaction of what happened to the job. Where a process
died in between, `revive` makes it so again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import psycopg

from storage.postgres import Connection
from storage.queries import load

_SQL = load("queue")
_AT_HOME = load("queue_tables")["at_home"]

# Any 64-bit number that no other use of advisory locks here has.
LEADER_KEY = 0x706C7972_00000010


async def defer(conn: Connection, id: UUID, *, delay_s: float = 0) -> None:
    """Have an unfinished job attempted, after `delay_s`; a ticket that waits already is moved."""
    await conn.execute(_SQL["defer"], {"id": id, "delay_s": delay_s})


async def abort(conn: Connection, id: UUID) -> bool:
    """Have the attempt that is going on cancelled, if there is one."""
    return await (await conn.execute(_SQL["abort"], {"id": id})).fetchone() is not None


async def drop(conn: Connection, tickets: Sequence[int]) -> None:
    await conn.execute(_SQL["drop"], {"tickets": list(tickets)})


async def revive(conn: Connection, kinds: Iterable[str], *, stalled_s: float) -> list[UUID]:
    """Take tickets from workers that were silent for `stalled_s`, and give one to every unfinished job of
    these kinds that has none. Returns those jobs."""
    async with conn.transaction():
        await conn.execute(_SQL["drop_stalled"], {"stalled_s": stalled_s})
        return [
            row[0] for row in await (await conn.execute(_SQL["revive"], {"kinds": list(kinds)})).fetchall()
        ]


async def lead(conn: Connection) -> bool:
    """Become the one that leads, as long as this session lasts; False: another one does."""
    row = await (await conn.execute(_SQL["lead"], {"key": LEADER_KEY})).fetchone()
    return row is not None and bool(row[0])


async def at_home(conn: psycopg.AsyncConnection[object]) -> None:
    """Make a session one for procrastinate's own queries."""
    await conn.set_autocommit(True)
    await conn.execute(_AT_HOME)
