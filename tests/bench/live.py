"""(e) One event to many: 200 subscribers of the live feed at 100 events a second, and where it breaks.

Events are committed to the outbox as the indexer commits them, each with the time of its making. The
server runs on one core, subscribers and their clock on the other, and Postgres where it likes. The
other side is the usual way to write such a feed: each event encoded once, a queue and a task for each
subscriber. What counts is the server's own CPU time for each message; then the rate is doubled until
a message takes longer than a second, or a subscriber is lost.

Gate: every subscriber receives every event once, in order. While the rate is doubled one of twenty
checks that, and the others that they received as much.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import libipld
import psycopg

from firehose.car import block_cid
from lexicons.datamodel import cid_str
from lexicons.syntax import Did, Nsid, Rev, Rkey, tid_from_us
from storage import outbox
from storage.outbox import Entry, Kind
from tests.bench import database, machine
from tests.bench.children import Child
from tests.bench.measure import Finding, Goal, Pair, Sample, Target, WrongAnswer, contest, require_equal
from tests.bench.options import Options

RATIO = 2.5
GOAL_P99_MS = 1000.0
SUBSCRIBERS = 200
MANY = 2_000
RATE = 100
_TICKS = 50  # transactions a second
_TRACK = Nsid("fm.plyr.track")


@dataclass(frozen=True, slots=True)
class Step:
    """One rate for some seconds: what arrived, how late, and what that cost the server."""

    rate: int
    subscribers: int
    sample: Sample
    p50_ms: float
    p99_ms: float
    lost: int  # subscribers that were ended, or never received everything

    @property
    def good(self) -> bool:
        return not self.lost and self.p99_ms <= GOAL_P99_MS

    @property
    def share(self) -> float:
        """Of one core."""
        return self.sample.cpu_s / self.sample.wall_s


class Stage:
    """A server, its subscribers, and a hand that writes events."""

    def __init__(
        self, dsn: str, server: Child, readers: Child, numbers: Iterator[int], subscribers: int, looking: int
    ) -> None:
        self._dsn = dsn
        self._server = server
        self._readers = readers
        self._numbers = numbers
        self._subscribers = subscribers
        self._looking = looking

    async def play(self, rate: int, seconds: float) -> Step:
        """Events at this rate, and what came of them. Raises WrongAnswer."""
        cpu, started = machine.cpu_seconds(self._server.pid), time.perf_counter()
        count = await _write(self._dsn, rate, seconds, self._numbers)
        wall_s = time.perf_counter() - started
        n, p50_ms, p99_ms = 0, 0.0, 0.0
        lost = behind = 0
        for _ in range(8):  # what is late, is late: but not for ever
            await asyncio.sleep(0.5)
            await self._readers.nudge()
            answer = await self._readers.answer(120)
            if answer["missed"]:
                raise WrongAnswer(f"{answer['missed']} events were missed or out of order")
            p50_ms, p99_ms = max(p50_ms, answer["p50_ms"]), max(p99_ms, answer["p99_ms"])
            n, lost, behind = n + answer["n"], answer["lost"], answer["behind"]
            if lost or (n == count * self._looking and not behind):
                break
        else:
            lost = behind or self._subscribers
        cpu = machine.cpu_seconds(self._server.pid) - cpu
        peak_bytes = machine.peak_bytes(self._server.pid)
        sample = Sample(count * self._subscribers, wall_s, max(cpu, 0.01), peak_bytes)
        return Step(rate, self._subscribers, sample, p50_ms, p99_ms, lost)


async def run(options: Options, postgres: database.Server) -> Finding:
    """Both at the rate that is wanted, in turns; then ours until it breaks."""
    seconds = options.size(10.0, 4.0)
    numbers = itertools.count(1)
    pairs: list[Pair] = []
    ours: list[Step] = []
    usual: list[Step] = []
    for _ in range(options.size(3, 2)):
        async with _stage(postgres, numbers, usual=False) as stage:
            ours.append(await _good(stage, seconds))
        async with _stage(postgres, numbers, usual=True) as stage:
            usual.append(await _good(stage, seconds))
        pairs.append(Pair(ours[-1].sample, usual[-1].sample))
    steps: list[Step] = []
    async with _stage(postgres, numbers, usual=False, every=20) as stage:
        for rate in (RATE * 2**power for power in range(12)):
            steps.append(await stage.play(rate, seconds / 2))
            if not steps[-1].good:
                break
    async with _stage(postgres, numbers, usual=False, subscribers=MANY, every=MANY // 20) as stage:
        await stage.play(RATE, 1)
        steps.append(await stage.play(RATE, seconds))
    p99_ms = median(step.p99_ms for step in ours)
    return Finding(
        name="live",
        title=f"{SUBSCRIBERS} subscribers of the live feed, {RATE} events a second",
        unit="message",
        contestants=contest("plyr", "a queue and a task each", pairs),
        targets=(Target("messages per second of server CPU", tuple(pair.by_cpu for pair in pairs), RATIO),),
        goals=(Goal("p99 from making to subscriber", p99_ms, GOAL_P99_MS, "ms", at_most=True),),
        gates=(f"{SUBSCRIBERS} subscribers received every event once, in order, at every rate that counts",),
        notes=(
            f"a queue and a task each: p99 {median(step.p99_ms for step in usual):,.0f} ms",
            *(_note(step) for step in steps),
            "a break with the server far below its core is that of the machine, not the server's own limit",
        ),
    )


async def _good(stage: Stage, seconds: float) -> Step:
    await stage.play(RATE, 1)
    step = await stage.play(RATE, seconds)
    require_equal("subscribers that did not receive everything", step.lost, 0)
    return step


@asynccontextmanager
async def _stage(
    postgres: database.Server,
    numbers: Iterator[int],
    *,
    usual: bool,
    subscribers: int = SUBSCRIBERS,
    every: int = 1,
) -> AsyncIterator[Stage]:
    """`every`: one of so many subscribers looks at what it receives, the others count it."""
    dsn = await postgres.fresh("live")
    cores = machine.cores() or (None, None)
    task: dict[str, Any] = {"dsn": dsn, "usual": usual, "subscribers": subscribers}
    async with await Child.start("tests.bench.live_server", task, core=cores[1]) as server:
        task = {"port": (await server.answer(60))["port"], "subscribers": subscribers, "every": every}
        async with await Child.start("tests.bench.live_readers", task, core=cores[0]) as readers:
            await readers.answer(60)
            await asyncio.sleep(1)
            yield Stage(dsn, server, readers, numbers, subscribers, subscribers // every)
    postgres.drop("live")


async def _write(dsn: str, rate: int, seconds: float, numbers: Iterator[int]) -> int:
    """Commit `rate` events a second, some at a time. Returns how many those were."""
    ticks, count = round(_TICKS * seconds), 0
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        started = time.perf_counter()
        for tick in range(ticks):
            wait_s = started + tick / _TICKS - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            due = rate * (tick + 1) // _TICKS - rate * tick // _TICKS
            async with conn.transaction():
                await outbox.append(conn, [_entry(next(numbers)) for _ in range(due)])
            count += due
    return count


def _entry(number: int) -> Entry:
    """A track of usual size, stamped with its number and the time."""
    key = tid_from_us(1_780_000_000_000_000 + number)
    block = libipld.encode_dag_cbor(
        {
            "$type": _TRACK,
            "stamp": struct.pack(">QQ", number, time.time_ns()),
            "title": f"Night ferry {number}",
            "artist": "Somebody",
            "audioUrl": "https://audio.example/" + "0123456789abcdef" * 4,
            "createdAt": "2026-07-04T12:00:00.000Z",
        }
    )
    return Entry(
        kind=Kind.RECORD,
        source="wss://relay.example",
        did=Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"),
        rev=Rev(key),
        collection=_TRACK,
        rkey=Rkey(key),
        action="create",
        cid=cid_str(block_cid(block)),
        block=block,
        verdict="valid",
    )


def _note(step: Step) -> str:
    verdict = "" if step.good else f": breaks, {step.lost} subscribers lost"
    return (
        f"{step.rate:,} events/s to {step.subscribers:,}, {step.rate * step.subscribers:,} messages/s: p50 "
        f"{step.p50_ms:,.0f} ms, p99 {step.p99_ms:,.0f} ms, {step.share:.0%} of the server's core{verdict}"
    )
