"""(f) Many small repos, from their hosts into tables, against fetching them alone.

Ours is what `plyr sync run` does: take due repos under a lease, `getRepo` in each host's lanes, check
signature, tree and hashes, compare with what is held, validate records, write them with projections,
counters, states, decisions and the outbox. The limit is the same client fetching as many repos in the
same lanes and throwing them away. Hosts, Postgres and both contestants share the machine's cores.

Gate: every repo is active at the rev of its host, every record of ours is there, all counters equal
a recount, and the outbox tells of each record once.
"""

from __future__ import annotations

import asyncio
import cProfile
import tempfile
import time
from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection

from firehose.hosts import SyncHost
from firehose.lanes import Lanes
from firehose.net import GuardedClient
from indexer.ingest import spare_the_collector
from indexer.resync import Resyncer
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import repos
from storage.postgres import make_pool
from storage.repos import NewRepo
from tests.bench import children, database, machine, profiling
from tests.bench.measure import Finding, Goal, Pair, Sample, Target, WrongAnswer, contest, require_equal
from tests.bench.options import Options
from tests.bench.repo_hosts import OTHERS, OURS

RATIO = 0.12
GOAL_PER_SECOND = 200
HOSTS = 8
PER_HOST = 8


async def run(options: Options, server: database.Server) -> Finding:
    """Hosts and reader in processes of their own, the repos in as many rounds as there are pairs."""
    rounds, each = options.size((4, 2_500), (3, 400))
    dsn = await server.fresh("backfill")
    hosts = await children.Child.start("tests.bench.repo_hosts", {"repos": rounds * each, "hosts": HOSTS})
    async with hosts:
        known = await hosts.answer(600)
        task = {"dsn": dsn, "rounds": rounds, "profile": options.profile, **known}
        async with await children.Child.start("tests.bench.backfill", task) as child:
            answer = await child.answer(900)
    if "wrong" in answer:
        raise WrongAnswer(answer["wrong"])
    gates = check(dsn, rounds * each)
    server.drop("backfill")
    pairs = [Pair(children.sample_of(ours), children.sample_of(limit)) for ours, limit in answer["pairs"]]
    ours, limit = contest("plyr", "fetching alone", pairs)
    overall = sum(p.ours.n for p in pairs) / sum(p.ours.wall_s for p in pairs)
    return Finding(
        name="backfill",
        title=f"{rounds * each:,} repos of {OURS + OTHERS} records, {OURS} of them ours, from {HOSTS} hosts",
        unit="repo",
        contestants=(ours, limit),
        targets=(Target("of fetching alone", tuple(pair.by_wall for pair in pairs), RATIO),),
        goals=(Goal("repos overall", overall, GOAL_PER_SECOND, "repos/s"),),
        gates=gates,
        notes=(
            f"{known['bytes'] / 1000:.1f} kB a repo; {overall * OURS:,.0f} records/s written",
            f"beside that Postgres takes {answer['postgres_ms']:.2f} ms of CPU a repo",
        ),
        profiles={"backfill": answer["profile"]} if answer["profile"] else {},
    )


def check(dsn: str, accounts: int) -> tuple[str, ...]:
    """The gate, on the database as the run left it."""
    with psycopg.connect(dsn, autocommit=True) as connection:

        def one(query: LiteralString) -> Any:
            row = connection.execute(query).fetchone()
            return row[0] if row else None

        require_equal("repos in step", one("select count(*) from repo where state = 'active'"), accounts)
        require_equal("repos still due", one("select count(*) from repo where resync_due is not null"), 0)
        require_equal("records", one("select count(*) from record where cid is not null"), accounts * OURS)
        require_equal("tracks whose counters differ from a recount", one(_MISCOUNTED), 0)
        likes = one("select sum(likes) from track_stat")
    return (
        f"{accounts:,} repos active, {accounts * OURS:,} records there",
        f"{likes:,} likes counted, every counter equal to a recount",
    )


_MISCOUNTED = """
select count(*) from track_stat s
left join (select track_id, count(distinct repo_id) n from "like" group by 1) l on l.track_id = s.id
left join (select track_id, count(*) n from comment group by 1) c on c.track_id = s.id
where s.likes <> coalesce(l.n, 0) or s.comments <> coalesce(c.n, 0)"""


async def measure(task: dict[str, Any]) -> None:
    catalog, origins = Catalog.load(), task["origins"]
    accounts = [NewRepo(Did(did), origins[host], key) for did, key, host in task["accounts"]]
    each = len(accounts) // task["rounds"]
    pairs: list[tuple[dict[str, float], dict[str, float]]] = []
    postgres_s, profile = 0.0, ""
    async with (
        GuardedClient(allow_loopback=True, max_connections_per_host=PER_HOST) as client,
        make_pool(task["dsn"], max_size=10, name="backfill") as pool,
        await AsyncConnection.connect(task["dsn"], autocommit=True) as watching,
    ):
        for number in range(task["rounds"]):
            part = accounts[number * each :][:each]
            await repos.track(watching, part)
            spare_the_collector()
            last = number == task["rounds"] - 1
            profiler = cProfile.Profile(time.process_time) if task["profile"] and last else None
            limit = await _fetch_alone(client, part)
            before = _postgres_cpu(task["dsn"])
            resyncer = Resyncer(pool=pool, catalog=catalog, client=client, lanes=Lanes(PER_HOST))
            started, cpu = time.perf_counter(), time.process_time()
            if profiler is not None:
                profiler.enable()
            work = asyncio.create_task(resyncer.run())
            while resyncer.progress.read < each:
                await asyncio.sleep(0.02)
                if work.done() or resyncer.progress.failed:
                    children.say({"wrong": f"{resyncer.progress}: {work}"})
                    work.cancel()
                    return
            sample = _sample(each, started, cpu)
            if profiler is not None:
                profiler.disable()
                profile = profiling.top_ten(profiler, each, "repo")
            work.cancel()
            await asyncio.wait([work])
            postgres_s += _postgres_cpu(task["dsn"]) - before
            pairs.append((children.sample_json(sample), children.sample_json(limit)))
    children.say({"pairs": pairs, "profile": profile, "postgres_ms": postgres_s / (each * len(pairs)) * 1e3})


async def _fetch_alone(client: GuardedClient, accounts: Sequence[NewRepo]) -> Sample:
    lanes, waiting = Lanes(PER_HOST), list(reversed(accounts))
    started, cpu = time.perf_counter(), time.process_time()

    async def fetch() -> None:
        while waiting:
            account = waiting.pop()
            assert account.pds is not None
            with tempfile.SpooledTemporaryFile(2**20) as file:
                await SyncHost(client, account.pds, lanes).get_repo(account.did, file)  # type: ignore[arg-type]

    async with asyncio.TaskGroup() as tasks:
        for _ in range(HOSTS * PER_HOST):
            tasks.create_task(fetch())
    return _sample(len(accounts), started, cpu)


def _postgres_cpu(dsn: str) -> float:
    """CPU seconds of the server's processes that work for us now."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute(
            "select pid from pg_stat_activity where application_name = 'backfill'"
        ).fetchall()
    return sum(machine.cpu_seconds(pid) for (pid,) in rows)


def _sample(n: int, started: float, cpu: float) -> Sample:
    return Sample(n, time.perf_counter() - started, time.process_time() - cpu, machine.own_peak_bytes())


if __name__ == "__main__":
    children.main(measure)
