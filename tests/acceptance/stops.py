"""Where a process is held until it is killed: at the commit of a change of rows, by a lock that nobody but
the test takes. Nothing of the process is another one than people run.

    async with stops_in(dsn, stops) as held:
        await held.hold(stop)       # the next who comes there waits
        …
        await held.caught(stop)     # somebody does
        …                           # kill -9
        await held.settle()         # as each stop says

A commit of somebody who is dead is `kept` where the lock is let go: it takes place, and nobody hears of it.
It is lost where its connection is ended, too, as when death came right before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg

from storage.postgres import Connection

_KEY = 4711
_WAIT = f"""
create function wait_here() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared({_KEY}, tg_argv[0]::int);
    return null;
end $$
"""
_STOP = """
create constraint trigger stop_{n} after {change} deferrable initially deferred
    for each row when ({when}) execute function wait_here('{n}')
"""
_WAITING = """
select pid from pg_locks
where locktype = 'advisory' and classid = %s and objid = %s and not granted
  and database = (select oid from pg_database where datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class Stop:
    """`change`: what of which table, as a trigger says it; `when`: of which rows."""

    change: str
    when: str
    kept: bool


@dataclass
class Held:
    """`pids`: of the servers that wait at each stop that is on."""

    conn: Connection
    numbers: dict[Stop, int]
    pids: dict[Stop, list[int]] = field(default_factory=dict)

    async def hold(self, stop: Stop) -> None:
        await self.conn.execute("select pg_advisory_lock(%s, %s)", (_KEY, self.numbers[stop]))
        self.pids[stop] = []

    async def caught(self, stop: Stop) -> None:
        async with asyncio.timeout(60):
            while not (found := await self._waiting(stop)):
                await asyncio.sleep(0.02)
        self.pids[stop] = found

    async def let_go(self, stop: Stop) -> None:
        """Whoever waits there has gone on when this returns."""
        await self.conn.execute("select pg_advisory_unlock(%s, %s)", (_KEY, self.numbers[stop]))
        async with asyncio.timeout(60):
            while await self._waiting(stop):
                await asyncio.sleep(0.02)

    async def settle(self) -> None:
        """Whoever waited is gone afterwards, with the commit or without it."""
        for stop, pids in self.pids.items():
            assert pids == await self._waiting(stop)
            if not stop.kept:
                await self.conn.execute("select pg_terminate_backend(p) from unnest(%s) p", (pids,))
                await self._gone(pids)
        for stop, pids in self.pids.items():
            await self.let_go(stop)
            await self._gone(pids)
        self.pids.clear()

    async def _waiting(self, stop: Stop) -> list[int]:
        cursor = await self.conn.execute(_WAITING, (_KEY, self.numbers[stop]))
        return [pid for (pid,) in await cursor.fetchall()]

    async def _gone(self, pids: list[int]) -> None:
        async with asyncio.timeout(60):
            query = "select 1 from pg_stat_activity where pid = any(%s)"
            while await (await self.conn.execute(query, (pids,))).fetchone():
                await asyncio.sleep(0.02)


@asynccontextmanager
async def stops_in(dsn: str, stops: Sequence[Stop]) -> AsyncIterator[Held]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute(_WAIT.encode())
        numbers = {stop: n for n, stop in enumerate(stops)}
        for stop, n in numbers.items():
            await conn.execute(_STOP.format(n=n, change=stop.change, when=stop.when).encode())
        yield Held(conn, numbers)
