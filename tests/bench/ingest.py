"""(c) Verified events to committed rows on one connection, against COPY of the same rows.

Ours is `indexer.prepare` and `indexer.apply`: parse and validate each record, decide against
what is stored, write records, projections, counters, sync states and the cursor in one
transaction per batch. The limit is COPY of the same rows, the new ones and the new versions of
those that changed, into clones of the tables with all of their indexes, which hold the
same rows before (the old versions are deleted before the clock starts), as many rows to a
transaction: it parses, reads, decides, counts and guards nothing. No checkpoint comes between
seeding and the end: it would make each page cost its image in the log once more, on
whichever side touches it first.

Gate: every created record is there and every deleted one a tombstone, all counters equal a
recount, the cursor is the last seq, and the clones hold the same rows as the tables.
"""

from __future__ import annotations

import asyncio
import cProfile
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString, cast

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from firehose.events import Commit, RecordOp
from indexer.apply import apply_batch
from indexer.ingest import prepare_in_turns, spare_the_collector
from indexer.prepare import Prepared
from lexicons.catalog import Catalog
from lexicons.datamodel import cid_of, encode
from lexicons.syntax import AtUri, Cid, Did, Rev, tid_from_us
from tests.bench import children, database, machine, profiling, seed
from tests.bench.activity import TRACK, Activity, cid, did, seeded_rkey
from tests.bench.measure import Finding, Goal, Pair, Sample, Target, WrongAnswer, contest, require_equal
from tests.bench.options import Options

RATIO = 0.5
GOAL_PER_SECOND = 10_000
BATCH = 1_000
PROOF_BYTES = 4_000  # of a usual commit's CAR slice
SOURCE = "wss://relay.example"
TABLES = ("repo", "record", "track_uri", "track_stat", "track", '"like"', "comment", "outbox")
_START_US = 1_790_000_000_000_000  # after everything seeded


async def run(options: Options, server: database.Server) -> Finding:
    """Seed, then let a process of its own apply and copy in turns."""
    size = options.size(
        seed.Size(20_000, 300_000, 1_500_000, 100_000, records=True),
        seed.Size(5_000, 50_000, 250_000, 20_000, records=True),
    )
    dsn = await server.fresh("ingest")
    await asyncio.to_thread(seed.seed, dsn, size)
    await asyncio.to_thread(clone, dsn)
    cores = machine.cores()
    task = {
        "dsn": dsn,
        "accounts": size.accounts,
        "tracks": size.tracks,
        "pairs": options.size(7, 5),
        "batches": options.size(10, 4),
        "profile": options.profile,
    }
    async with await children.Child.start(
        "tests.bench.ingest", task, core=cores[1] if cores else None
    ) as child:
        answer = await child.answer(600)
    if "wrong" in answer:
        raise WrongAnswer(answer["wrong"])
    gates = check(dsn, created=answer["created"], deleted=answer["deleted"], last_seq=answer["last_seq"])
    server.drop("ingest")
    pairs = [Pair(children.sample_of(ours), children.sample_of(limit)) for ours, limit in answer["pairs"]]
    ours, limit = contest("plyr", "COPY of the same rows", pairs)
    return Finding(
        name="ingest",
        title=f"verified events to committed rows, one connection, beside {size}",
        unit="event",
        contestants=(ours, limit),
        targets=(Target("of COPY", tuple(pair.by_wall for pair in pairs), RATIO),),
        goals=(Goal("committed per second", ours.typical.per_second, GOAL_PER_SECOND, "events/s"),),
        gates=gates,
        notes=(
            f"batches of {BATCH:,}, {answer['rows_per_event']:.2f} rows an event, new or changed",
            (
                f"beside that Postgres takes {answer['backend_us']:.0f} µs of CPU an event from us, "
                f"{answer['backend_copy_us']:.0f} µs from COPY"
            ),
            (
                f"keeping the {PROOF_BYTES:,} bytes that prove each commit, too, makes ours "
                f"{answer['backend_proof_us']:.0f} µs"
            ),
        ),
        profiles={"ingest": answer["profile"]} if answer["profile"] else {},
    )


def clone(dsn: str) -> None:
    """Copies of the tables that events write to, rows and indexes and all, in a schema of their own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create schema twin")
        for table in TABLES:
            names = {"table": sql.SQL(cast(LiteralString, table))}
            connection.execute(
                sql.SQL("create table twin.{table} (like public.{table} including all)").format(**names)
            )
            connection.execute(
                sql.SQL(
                    "insert into twin.{table} overriding system value select * from public.{table}"
                ).format(**names)
            )
        connection.execute("vacuum analyze")


def check(dsn: str, *, created: int, deleted: int, last_seq: int) -> tuple[str, ...]:
    """The gate, on the database as the run left it. Raises WrongAnswer; returns what held, in words."""
    with psycopg.connect(dsn, autocommit=True) as connection:

        def one(query: LiteralString) -> Any:
            row = connection.execute(query).fetchone()
            return row[0] if row else None

        require_equal("cursor", one("select seq from source_cursor"), last_seq)
        require_equal("records written by events", one(_WRITTEN), created)
        require_equal("tombstones among them", one(_TOMBSTONES), deleted)
        require_equal("tracks whose counters differ from a recount", one(_MISCOUNTED), 0)
        require_equal("rows in which a clone differs", one(_TWIN_DIFFERS), 0)
        require_equal("likes without a live record", one(_ROOTLESS), 0)
        tracks = one("select count(*) from track")
    return (
        f"{created:,} records made and {deleted:,} of them deleted, cursor at the last event",
        f"counters of {tracks:,} tracks equal a recount; the clones hold the same rows",
    )


# Seeded revs are lower than any that an event has.
_WRITTEN = "select count(*) from record where rev > '3kb'"
_TOMBSTONES = "select count(*) from record where rev > '3kb' and cid is null and block is null"
_MISCOUNTED = """
select count(*) from track_stat s
left join (select track_id, count(distinct repo_id) n from "like" group by 1) l on l.track_id = s.id
left join (select track_id, count(*) n from comment group by 1) c on c.track_id = s.id
where s.likes <> coalesce(l.n, 0) or s.comments <> coalesce(c.n, 0)"""
_TWIN_DIFFERS = """
select (select count(*) from record r full join twin.record t using (repo_id, collection, rkey)
         where (r.*) is distinct from (t.*))
     + (select count(*) from track_stat s full join twin.track_stat t using (id)
         where (s.*) is distinct from (t.*))
     + (select count(*) from "like" l full join twin."like" t using (repo_id, track_id, rkey)
         where l.sort_at is distinct from t.sort_at and l.repo_id is not null)"""
_ROOTLESS = """
select count(*) from "like" l left join record r
on (r.repo_id, r.collection, r.rkey) = (l.repo_id, 'fm.plyr.like', l.rkey) where r.cid is null"""


class Events:
    """An endless series of verified commits by seeded accounts, each continuing its repo's chain."""

    def __init__(self, accounts: int, tracks: int) -> None:
        numbers = range(1, accounts + 1)
        self._accounts = accounts
        self._tracks = tracks
        self._dids = {number: did(number) for number in numbers}
        self._activity = Activity(11, numbers, list(self._dids.values()), self._draw)
        self._heads: dict[int, tuple[Rev, Cid]] = {}
        self._now_us = _START_US
        self.seq = self.created = self.deleted = 0
        self.proof: bytes | None = None

    def _draw(self, dice: random.Random) -> AtUri:
        number = int(self._tracks * dice.random() ** 3) * 7919 % self._tracks + 1
        owner: Did = self._dids[number % self._accounts + 1]
        return AtUri(f"at://{owner}/{TRACK}/{seeded_rkey(number)}")

    def batch(self, size: int) -> list[Commit]:
        """The next events."""
        return [self._next() for _ in range(size)]

    def _next(self) -> Commit:
        self.seq += 1
        self._now_us += 2_000
        deed = self._activity.next(self._now_us)
        block = None if deed.record is None else encode(deed.record)
        self.created += block is not None
        self.deleted += block is None
        op = RecordOp(
            deed.action, deed.collection, deed.rkey, None if block is None else cid_of(block), block
        )
        since, prev_data = self._heads.get(deed.account, (seed.BASE_REV, seed.BASE_DATA))
        rev, data = Rev(tid_from_us(self._now_us, 1)), cid(f"root {self.seq}")
        self._heads[deed.account] = (rev, data)
        return Commit(
            seq=self.seq,
            did=self._dids[deed.account],
            rev=rev,
            since=since,
            cid=cid(f"commit {self.seq}"),
            data=data,
            prev_data=prev_data,
            time="2026-11-23T00:00:00.000Z",
            ops=(op,),
            proof=self.proof,
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one table as COPY text, in as many parts as there were batches."""

    table: str
    parts: tuple[bytes, ...]
    count: int


async def measure(task: dict[str, Any]) -> None:
    catalog = Catalog.load()
    events = Events(task["accounts"], task["tracks"])
    async with await AsyncConnection.connect(task["dsn"], autocommit=True) as connection:
        backend = connection.info.backend_pid

        async def ours(profiler: cProfile.Profile | None = None) -> Sample:
            batches = [events.batch(BATCH) for _ in range(task["batches"])]
            spare_the_collector()
            if profiler is not None:
                profiler.enable()
            started, cpu = time.perf_counter(), time.process_time()
            async with asyncio.TaskGroup() as tasks:
                slot: asyncio.Queue[tuple[Prepared, int]] = asyncio.Queue(1)
                tasks.create_task(_prepare(batches, catalog, slot))
                for _ in batches:
                    prepared, seq = await slot.get()
                    await apply_batch(connection, prepared, catalog=catalog, source=SOURCE, seq=seq)
            if profiler is not None:
                profiler.disable()
            return _sample(len(batches) * BATCH, started, cpu)

        async def limit(rows: list[_Rows]) -> Sample:
            started, cpu = time.perf_counter(), time.process_time()
            for number in range(task["batches"]):
                async with connection.transaction():
                    for table in rows:
                        copy_in = sql.SQL(cast(LiteralString, f"copy twin.{table.table} from stdin"))
                        async with connection.cursor().copy(copy_in) as copy:
                            await copy.write(table.parts[number])
            return _sample(task["batches"] * BATCH, started, cpu)

        pairs: list[tuple[dict[str, float], dict[str, float]]] = []
        backend_s, backend_copy_s, rows_copied = 0.0, 0.0, 0
        # The limit copies what ours wrote: warm up with one round, then alternate.
        await ours()
        pending = await _take_rows(connection, task["batches"])
        await limit(pending)
        await ours()
        pending = await _take_rows(connection, task["batches"])
        for number in range(task["pairs"]):
            if number % 2:
                before = machine.cpu_seconds(backend)
                other = await limit(pending)
                backend_copy_s += machine.cpu_seconds(backend) - before
            before = machine.cpu_seconds(backend)
            mine = await ours()
            between = machine.cpu_seconds(backend)
            if not number % 2:
                other = await limit(pending)
                backend_copy_s += machine.cpu_seconds(backend) - between
            backend_s += between - before
            rows_copied += sum(table.count for table in pending)
            pairs.append((children.sample_json(mine), children.sample_json(other)))  # type: ignore[possibly-unbound]
            pending = await _take_rows(connection, task["batches"])
        # The slices that prove commits are kept, too; they are not part of what COPY is asked for.
        events.proof = random.Random(12).randbytes(PROOF_BYTES)
        before = machine.cpu_seconds(backend)
        await ours()
        proving_s = machine.cpu_seconds(backend) - before
        events.proof = None
        await limit(pending)
        pending = await _take_rows(connection, task["batches"])
        profile = ""
        if task["profile"]:
            await limit(pending)
            profiler = cProfile.Profile(time.process_time)
            await ours(profiler)
            profile = profiling.top_ten(profiler, task["batches"] * BATCH, "event")
            pending = await _take_rows(connection, task["batches"])
        await limit(pending)
    timed = task["pairs"] * task["batches"] * BATCH
    children.say(
        {
            "pairs": pairs,
            "created": events.created,
            "deleted": events.deleted,
            "last_seq": events.seq,
            "backend_us": backend_s / timed * 1e6,
            "backend_copy_us": backend_copy_s / timed * 1e6,
            "backend_proof_us": proving_s / (task["batches"] * BATCH) * 1e6,
            "rows_per_event": rows_copied / timed,
            "profile": profile,
        }
    )


async def _prepare(
    batches: list[list[Commit]], catalog: Catalog, slot: asyncio.Queue[tuple[Prepared, int]]
) -> None:
    """As ingest does it: the next batch is prepared while the last one is written."""
    for batch in batches:
        await slot.put((await prepare_in_turns(batch, catalog), batch[-1].seq))


async def _take_rows(connection: AsyncConnection[TupleRow], parts: int) -> list[_Rows]:
    """What each table holds and its clone does not; of rows that changed, the clone loses the old version."""
    found: list[_Rows] = []
    for table, keys in zip(TABLES, _KEYS, strict=True):
        same = " and ".join(f"c.{key} = t.{key}" for key in keys)
        differs = f"c.{keys[0]} is null or (t.*) is distinct from (c.*)"
        lines: list[bytes] = []
        source = f"select t.* from public.{table} t left join twin.{table} c on {same} where {differs}"
        query = f"copy ({source}) to stdout"
        async with connection.cursor().copy(sql.SQL(cast(LiteralString, query))) as copy:
            async for data in copy:
                lines.append(bytes(data))
        delete = (
            f"delete from twin.{table} c using public.{table} t where {same} and (t.*) is distinct from (c.*)"
        )
        await connection.execute(cast(LiteralString, delete))
        found.append(_Rows(table, tuple(_split(lines, parts)), len(lines)))
    return found


_KEYS = (
    ("id",),
    ("repo_id", "collection", "rkey"),
    ("id",),
    ("id",),
    ("id",),
    ("repo_id", "track_id", "rkey"),
    ("repo_id", "rkey"),
    ("last_seq",),
)


def _split(lines: list[bytes], parts: int) -> Iterator[bytes]:
    for number in range(parts):
        yield b"".join(lines[len(lines) * number // parts : len(lines) * (number + 1) // parts])


def _sample(n: int, started: float, cpu: float) -> Sample:
    return Sample(n, time.perf_counter() - started, time.process_time() - cpu, machine.own_peak_bytes())


if __name__ == "__main__":
    children.main(measure)
