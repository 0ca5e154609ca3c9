"""Whatever breaks, and however often: the tables end as if nothing had.

During a load, `ingest` is killed with -9 twenty times, Postgres three times, each PDS goes down,
and a proxy before each firehose repeats, delays and cuts what it sends. A second `ingest` then reads
the same PDSs from their first event into a fresh database, undisturbed, and both are compared.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self, TypeVar

import psycopg
import pytest

from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate
from tests.acceptance.service import Program, cursors, until
from tests.devnet.compare import (
    departures,
    differences,
    indexed_counts,
    indexed_records,
    listed_records,
    planned_validity,
    recount,
    table_differences,
    tables,
)
from tests.devnet.drive import Drive
from tests.devnet.load import Plan, make_plan
from tests.devnet.network import Account, Devnet, Pds
from tests.fakenet.proxy import FaultyProxy

pytestmark = [pytest.mark.devnet, pytest.mark.once, pytest.mark.slow, pytest.mark.timeout(400)]

NS = "fm.plyr"
SEED = 20_260_301
INGEST_KILLS = 20
POSTGRES_KILLS = 3
PDS_STOPS = 3
CUTS = 3
ACCOUNTS = 24
OPERATIONS = 2000
STEPS_PER_S = 12
CATCH_UP_S = 150
SETTLE_S = 20


T = TypeVar("T")


class Database:
    """A Postgres of this test's own, that can be killed.

    It lives in one thread: the kernel ends the server with the thread that started it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._postgres = EmbeddedPostgres(data_dir)
        self._thread = ThreadPoolExecutor(1)
        self.dsn = ""
        self.killed = 0

    async def __aenter__(self) -> Self:
        self.dsn = await self._do(self._postgres.start)
        await migrate(self.dsn)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._do(self._postgres.stop)
        self._thread.shutdown()

    async def kill_and_restart(self, after_s: float) -> None:
        """`kill -9` of the server with whatever it was doing, a while without it, then its recovery."""
        pid = self._postgres.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

        async def dead() -> bool:
            return self._postgres.pid is None

        await until(dead, 20, "Postgres to die")
        self.killed += 1
        await asyncio.sleep(after_s)
        await self._do(self._postgres.restart)
        assert self._postgres.pid != pid

    async def _do(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


class Supervised:
    """`ingest`, started again whenever it ends, as `up` does."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self._program = Program("ingest", environ, log)
        self._dsn = environ["PLYR_DATABASE_URL"]
        self._before: dict[str, int] | None = None
        self.ends: list[int] = []
        self.killed = 0
        self.killed_at_work = 0  # after it had committed something since its start

    async def run(self) -> None:
        try:
            while True:
                self._before = await self._cursors()
                await self._program.start()
                self.ends.append(await self._program.process.wait())
                if self.ends[-1] != -signal.SIGKILL:
                    await asyncio.sleep(0.3)
        finally:
            await self._program.stop()

    async def kill(self, *, at_work: bool, after_s: float) -> None:
        """`kill -9` of the process as soon as there is one, or a while after it has committed something."""

        async def works() -> bool:
            now = await self._cursors()
            if self._before is None:  # Postgres was away when this one started
                self._before = now
            return self._moved(now)

        if at_work:
            with suppress(AssertionError):
                await until(works, 20, "an ingest at work")
        await asyncio.sleep(after_s)

        async def killed() -> bool:
            if not self._program.running:
                return False
            now = await self._cursors()
            with suppress(ProcessLookupError):
                self._program.process.kill()
            if await self._program.process.wait() != -signal.SIGKILL:
                return False  # it had ended by itself
            self.killed_at_work += self._moved(now)
            return True

        await until(killed, 30, "an ingest to kill")
        self.killed += 1

    def _moved(self, now: dict[str, int] | None) -> bool:
        return self._before is not None and now is not None and now != self._before

    async def _cursors(self) -> dict[str, int] | None:
        try:
            return await cursors(self._dsn)
        except psycopg.OperationalError:
            return None


async def test_kills_outages_and_a_bad_network_leave_no_trace(
    database: str, data_dir: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    chance = random.Random(SEED)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        net = await stack.enter_async_context(Devnet(pds=2))
        proxies = [
            await stack.enter_async_context(FaultyProxy(pds.source, seed=SEED + pds.index, hold_s=0.25))
            for pds in net.pds
        ]
        postgres = await stack.enter_async_context(Database(data_dir))
        sources = [proxy.source for proxy in proxies]
        environ = net.service_settings() | {
            "PLYR_DATABASE_URL": postgres.dsn,
            "PLYR_SOURCES": ",".join(sources),
        }
        ingest = Supervised(environ, tmp_path / "ingest.log")
        accounts = await net.accounts([f"artist{i}" for i in range(ACCOUNTS)])
        plan = make_plan([account.did for account in accounts], OPERATIONS, seed=SEED)
        drive = Drive(net, accounts, plan, steps_per_s=STEPS_PER_S)
        faults = Faults(net, proxies, postgres, ingest, drive)
        running = asyncio.create_task(ingest.run())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(drive.run())
                for task in faults.tasks(chance):
                    group.create_task(task)
            load_s = time.monotonic() - began
            await caught_up(net, postgres.dsn, dict(zip(sources, net.pds, strict=True)))
            caught_up_s = time.monotonic() - began - load_s
            reference = net.service_settings() | {"PLYR_DATABASE_URL": database}
            async with Program("ingest", reference, tmp_path / "reference.log"):
                await caught_up(net, database, {pds.source: pds for pds in net.pds})
                await expect_equal(postgres.dsn, database)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        faults.expect_fired()
        await expect_what_the_network_says(net, accounts, plan, postgres.dsn)
        for line in faults.report():
            measured(f"chaos: {line}")
        measured(
            f"chaos: {drive.done} writes in {drive.seconds:.0f} s ({drive.retried} requests sent again),"
            f" caught up {caught_up_s:.1f} s after the last, {time.monotonic() - began:.0f} s in all"
        )


@dataclass
class Faults:
    """Injects every fault at its moment, which is a share of the load's writes, and knows which fired."""

    net: Devnet
    proxies: Sequence[FaultyProxy]
    postgres: Database
    ingest: Supervised
    drive: Drive
    pds_stops: int = 0
    kills_under_load: int = 0

    def tasks(self, chance: random.Random) -> list[Coroutine[None, None, None]]:
        def moments(count: int) -> list[float]:
            return sorted(chance.uniform(0.03, 0.97) for _ in range(count))

        return [
            self._kill_ingest(moments(INGEST_KILLS), chance),
            self._at(
                moments(POSTGRES_KILLS), lambda: self.postgres.kill_and_restart(chance.uniform(0.1, 1.5))
            ),
            self._at(moments(PDS_STOPS), lambda: self._pds_outage(chance.uniform(0.5, 2))),
            self._at(moments(CUTS), self._cut),
        ]

    async def _at(self, shares: Sequence[float], inject: Callable[[], Awaitable[None]]) -> None:
        for share in shares:
            await self.drive.reached(int(share * self.drive.plan.operations))
            await inject()

    async def _kill_ingest(self, shares: Sequence[float], chance: random.Random) -> None:
        """The load slows down when it is ahead of the kills, so that they come under load anywhere. Seven of
        ten wait until it is at work, the others hit it wherever it is."""
        at_work = [n % 10 < 7 for n in range(len(shares))]
        chance.shuffle(at_work)
        for n, (share, following) in enumerate(pairwise([*shares, 1.0])):
            await self.drive.reached(int(share * self.drive.plan.operations))
            self.drive.slow_after = int((following + 0.02) * self.drive.plan.operations)
            await self.ingest.kill(at_work=at_work[n], after_s=chance.uniform(0, 0.5))
            self.kills_under_load += self.drive.done < self.drive.plan.operations

    async def _pds_outage(self, seconds: float) -> None:
        index = self.pds_stops % len(self.net.pds)
        await self.net.stop_pds(index)
        assert await self.net.last_seq(index) == 0
        self.pds_stops += 1
        await asyncio.sleep(seconds)
        await self.net.start_pds(index)

    async def _cut(self) -> None:
        """Cuts the streams that are open; waits for one if ingest has just been killed."""

        async def was_cut() -> bool:
            return sum(proxy.cut() for proxy in self.proxies) > 0

        await until(was_cut, 20, "a stream to cut")

    def expect_fired(self) -> None:
        assert Counter(self.ingest.ends)[-signal.SIGKILL] == self.ingest.killed == INGEST_KILLS
        assert self.ingest.killed_at_work >= INGEST_KILLS // 2
        assert self.kills_under_load >= INGEST_KILLS - 2
        assert self.postgres.killed == POSTGRES_KILLS
        assert self.pds_stops == PDS_STOPS
        assert self.drive.retried > 0, "a PDS was away while nobody needed it"
        assert self.drive.forgiven == [], "a PDS tore a write: its firehose may not be what it stores"
        assert sum(proxy.faults.cut for proxy in self.proxies) >= CUTS
        for proxy in self.proxies:
            assert proxy.faults.duplicated >= 50
            assert proxy.faults.reordered >= 50
            assert proxy.faults.connections >= INGEST_KILLS // 2

    def report(self) -> list[str]:
        others = Counter(end for end in self.ingest.ends if end != -signal.SIGKILL)
        kills = (
            f"ingest killed {self.ingest.killed} times, {self.ingest.killed_at_work} of them at"
            f" work, {self.kills_under_load} under load (other ends: {dict(others)});"
            f" Postgres {self.postgres.killed}, PDS stopped {self.pds_stops}"
        )
        return [kills, *(str(proxy.faults) for proxy in self.proxies)]


async def caught_up(net: Devnet, dsn: str, sources: Mapping[str, Pds]) -> None:
    """Returns once everything that the PDSs have sent is committed."""
    newest = {url: await net.last_seq(pds.index) for url, pds in sources.items()}

    async def reached() -> bool:
        seen = await cursors(dsn)
        return all(seen.get(url, 0) >= seq for url, seq in newest.items())

    await until(reached, CATCH_UP_S, f"the cursors to reach {newest}")


async def expect_equal(one: str, other: str) -> None:
    """That two databases hold the same, once names are resolved and late frames are in."""
    async with (
        await psycopg.AsyncConnection.connect(one, autocommit=True) as first,
        await psycopg.AsyncConnection.connect(other, autocommit=True) as second,
    ):
        deadline = time.monotonic() + SETTLE_S
        while True:
            mine, theirs = await tables(first), await tables(second)
            lines = table_differences(mine, theirs)
            if not lines or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.5)
        assert lines == [], f"{len(lines)} rows differ"
        assert all(theirs.values()), "an empty table is equal to another empty one"


async def expect_what_the_network_says(
    net: Devnet, accounts: Sequence[Account], plan: Plan, dsn: str
) -> None:
    listed = await listed_records(net, accounts, NS)
    assert departures(plan, listed, NS) == []
    validity = planned_validity(plan)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        expected = {uri: (record.cid, validity[uri]) for uri, record in listed.items()}
        assert differences(await indexed_records(conn), expected) == []
        counts = recount((record for uri, record in listed.items() if validity[uri]), NS)
        assert differences(await indexed_counts(conn), counts) == []
