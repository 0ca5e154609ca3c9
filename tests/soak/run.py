"""One run: some worlds at once, one plyr that reads them all, and the comparison at the end.

    worlds play ──▶ relays, hosts, directory ──▶ ingest, sync run ──▶ Postgres ──▶ compare with the worlds
                                                 ↑ kill -9

The story, the faults and the moments of the kills follow from the seeds; what the scheduler of this
machine makes of them does not. A run ends well when every world is found in the tables, row by
row, and when a replay of what happened gives the same tables.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from indexer.shadow import replay
from tests.acceptance.service import Program
from tests.soak.compare import differences, expected, read
from tests.soak.worlds import Worlds, opened

KILLS = 8  # of ingest, in a run
SYNC_KILLS = 2
OUTAGE = 200  # events in each world without a reader, after every other kill of ingest
PACE = 100  # events a second, in each world
AHEAD = 400  # events that a world may play before ingest has read them
SETTLE_S = 150
SWEEP_AGAIN_S = 10
DID = re.compile(r"did:plc:[a-z2-7]{24}")
EXPLAINED = 5  # accounts, of a run that did not end well
HURRY_AGAIN_S = 3  # what is being done meanwhile is done twice at worst, as when a lease runs out


@dataclass
class Outcome:
    """`lines` say for each seed what differs; nothing, where all is well."""

    lines: dict[int, list[str]]
    fired: Counter[str]
    acts: Counter[str]
    events: int
    ends: dict[str, Counter[int]]
    waiting: list[str]  # what the tables say is not done, or not believed
    played_s: float
    settled_s: float
    replayed: list[str]  # how the tables differ from what the archive and the outbox give

    @property
    def crashes(self) -> dict[str, int]:
        """How often each process ended that nobody had killed. 255: asyncio could not learn how it ended."""
        others = {part: ends.total() - ends[-signal.SIGKILL] - ends[255] for part, ends in self.ends.items()}
        return {part: count for part, count in others.items() if count}

    @property
    def good(self) -> bool:
        return not any(self.lines.values()) and not self.crashes and not self.replayed


@dataclass
class Supervised:
    """A process that is started again whenever it ends, as `up` does, while it is `wanted`."""

    command: str
    environ: dict[str, str]
    log: Path
    ends: Counter[int] = field(default_factory=Counter[int])
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    program: Program = field(init=False)

    def __post_init__(self) -> None:
        self.program = Program(self.command, self.environ, self.log)
        self.wanted.set()

    async def run(self) -> None:
        try:
            while True:
                await self.wanted.wait()
                await self.program.start()
                end = await self.program.process.wait()
                self.ends[end] += 1
                if end != -signal.SIGKILL:
                    await asyncio.sleep(0.5)
        finally:
            await self.program.stop()

    async def kill(self) -> None:
        """`kill -9`, as soon as there is a process."""
        while not self.program.running:
            await asyncio.sleep(0.02)
        with suppress(ProcessLookupError):
            self.program.process.kill()


class Run:
    """`streamed`: worlds that a reader of the stream alone can follow, and nothing but that reader."""

    def __init__(
        self, seeds: Sequence[int], events: int, dsn: str, folder: Path, *, streamed: bool = False
    ) -> None:
        self._seeds = list(seeds)
        self._streamed = streamed
        self._events = events
        self._dsn = dsn
        self._folder = folder
        self._chance = random.Random(f"kills {self._seeds}")

    async def __call__(self) -> Outcome:
        async with opened(self._seeds, streamed=self._streamed) as worlds:
            environ = worlds.settings() | {
                "PLYR_DATABASE_URL": self._dsn,
                "PLYR_DATA_DIR": str(self._folder / "data"),
            }
            parts = {
                command: Supervised(command, environ, self._folder / f"{command.replace(' ', '-')}.log")
                for command in (("ingest",) if self._streamed else ("ingest", "sync run"))
            }
            running = [asyncio.create_task(part.run()) for part in parts.values()]
            try:
                began = time.monotonic()
                await self._play(worlds, parts)
                worlds.end()
                played = time.monotonic()
                if "sync run" in parts:
                    await self._next_day()
                    await parts["sync run"].kill()  # whom it had decided to leave alone for long, it forgets
                lines = await self._settle(worlds, environ)
                settled = time.monotonic()
                await self._explain(lines, environ)
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
            waiting = await self._waiting()
            replayed = await replay(self._dsn, self._folder / "data" / "archive", "fm.plyr", workers=1)
            acts: Counter[str] = Counter()
            for story in worlds.stories:
                acts.update(story.acts)
            return Outcome(
                lines,
                worlds.fired(),
                acts,
                sum(story.events for story in worlds.stories),
                {command: part.ends for command, part in parts.items()},
                waiting,
                played - began,
                settled - played,
                [str(difference) for difference in replayed.differences],
            )

    # -- while things happen

    async def _play(self, worlds: Worlds, parts: dict[str, Supervised]) -> None:
        kills = {self._moment(): "ingest" for _ in range(KILLS)}
        kills |= {self._moment(): "sync run" for _ in range(SYNC_KILLS) if "sync run" in parts}
        outages = [] if self._streamed else sorted(n for n, part in kills.items() if part == "ingest")[::2]
        began = hurried = time.monotonic()
        for n in range(self._events):
            for story in worlds.stories:
                story.step()
            if (part := kills.get(n)) is not None and parts[part].wanted.is_set():
                await asyncio.sleep(self._chance.random() / PACE)
                if n in outages:
                    parts[part].wanted.clear()
                await parts[part].kill()
            if n - OUTAGE in outages:
                self._forget(worlds)
                parts["ingest"].wanted.set()
            await asyncio.sleep(max(0.0, began + n / PACE - time.monotonic()))
            if n % 50 == 0:
                async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as conn:
                    await self._wait_for_readers(worlds, conn)
                    if time.monotonic() - hurried > HURRY_AGAIN_S:
                        await self._hurry(conn)
                        hurried = time.monotonic()

    def _moment(self) -> int:
        """One of the rounds in which each world moves on by an event."""
        return self._chance.randint(self._events // 20, self._events - OUTAGE - 1)

    def _forget(self, worlds: Worlds) -> None:
        """Nobody has read for long, and some relays drop what they had: readers come back with a cursor that
        is too old."""
        for story in worlds.stories:
            if self._chance.random() < 0.3:
                story.channel.forget(keep=5)

    async def _wait_for_readers(self, worlds: Worlds, conn: psycopg.AsyncConnection) -> None:
        """So that what happens, happens to a reader that is there; but nobody waits for long."""
        limit = time.monotonic() + 2
        while time.monotonic() < limit:
            rows = await (await conn.execute("select url, seq from source_cursor")).fetchall()
            seqs = {url.partition("/xrpc/")[0]: seq for url, seq in rows}
            if all(story.channel.seq - seqs.get(story.relay.url, 0) < AHEAD for story in worlds.stories):
                return
            await asyncio.sleep(0.05)

    # -- when nothing happens any more

    async def _settle(self, worlds: Worlds, environ: dict[str, str]) -> dict[int, list[str]]:
        """Waits until every world is found in the tables, or for long enough. Time is made to pass."""
        deadline = time.monotonic() + SETTLE_S
        sweep_at = time.monotonic() + 2
        hurry_at = time.monotonic()
        lines: dict[int, list[str]] = {}
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as conn:
            while True:
                if time.monotonic() >= hurry_at:
                    await self._hurry(conn)
                    hurry_at = time.monotonic() + HURRY_AGAIN_S
                if not self._streamed and time.monotonic() >= sweep_at:
                    await self._sweep(environ)
                    sweep_at = time.monotonic() + SWEEP_AGAIN_S
                found = await read(conn)
                tracked = [did for (did,) in found["repo"]]
                lines = {
                    story.seed: differences(story, expected(story, worlds.plc.handles, tracked), found)
                    for story in worlds.stories
                }
                if not any(lines.values()) or time.monotonic() > deadline:
                    return lines
                await asyncio.sleep(0.5)

    async def _hurry(self, conn: psycopg.AsyncConnection) -> None:
        """What was put off until later is due now."""
        for column in ("identity_due", "account_due", "resync_due"):
            await conn.execute(
                f"update repo set {column} = now() where id in"
                f" (select id from repo where {column} > now() for update skip locked)"
            )
        await conn.execute("update rejected_event set next_attempt_at = now() where next_attempt_at > now()")

    async def _next_day(self) -> None:
        """Hosts are to be asked again who has records of ours."""
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as conn:
            await conn.execute("update discovery set finished_at = finished_at - interval '1 day'")

    async def _sweep(self, environ: dict[str, str]) -> None:
        """What a night's reconciliation does."""
        async with Program("sync reconcile", environ, self._folder / "reconcile.log") as program:
            with suppress(TimeoutError):
                await asyncio.wait_for(program.process.wait(), 90)

    async def _explain(self, lines: dict[int, list[str]], environ: dict[str, str]) -> None:
        """What plyr says of the accounts that are not as they should be, into the folder of the logs."""
        wrong = [line for of_seed in lines.values() for line in of_seed]
        dids = list(dict.fromkeys(did for line in wrong for did in DID.findall(line)[:1]))
        for did in dids[:EXPLAINED]:
            log = self._folder / f"explain-{did.rpartition(':')[2]}.log"
            async with Program(f"sync explain {did}", environ, log) as program:
                await asyncio.wait_for(program.process.wait(), 30)

    async def _waiting(self) -> list[str]:
        """For whoever wants to know why a run did not end well."""
        async with await psycopg.AsyncConnection.connect(self._dsn) as conn:
            rejected = await conn.execute(
                """select reason, count(*), count(next_attempt_at), min(detail) from rejected_event
                   group by 1 order by 2 desc"""
            )
            lines = [
                f"rejected {reason}: {count}, {retried} to be tried again, as: {detail[:150]}"
                for reason, count, retried, detail in await rejected.fetchall()
            ]
            repos = await conn.execute(
                """select did, state, active, resync_error, resync_tries, resync_due, account_due,
                          identity_due, gaps
                   from repo
                   where state <> 'active' and active or resync_due is not null or account_due is not null
                      or identity_due is not null
                   order by did"""
            )
            return lines + ["repo " + " ".join(map(str, row)) for row in await repos.fetchall()]
