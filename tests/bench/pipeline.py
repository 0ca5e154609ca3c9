"""(a) From a TLS socket to committed rows, against the Python SDK's documented consumer.

A relay in a process of its own replays one capture: realistic frames of some 5.4 kB, one in
a hundred ours. Our side is `indexer.ingest.Follower` as `plyr ingest` runs it: the websocket
reader, the filter, full verification of what is ours, decisions, rows, counters and cursor
in Postgres. Its accounts are tracked already, so no directory is asked. The other side is
`sdk_consumer`, which verifies nothing. Both read TLS, both are pinned to the same core in
turn, both start on fresh tables.

Gate: both sides end with exactly the tracks and counters that the capture's author booked,
and ours with no rejection, every account in sync and the cursor on the last frame.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import time
from typing import Any

import psycopg

from firehose.filter import Interest
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from firehose.relay import SourceStatus, parse_source
from indexer.ingest import Follower, spare_the_collector
from indexer.verifier import Verifier
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import repos
from storage.postgres import make_pool
from tests.bench import capture, children, database, machine, profiling, replay
from tests.bench.capture import Capture
from tests.bench.measure import Finding, Goal, Sample, Target, contest, interleave, require_equal
from tests.bench.options import Options

RATIO, AIM = 8.0, 13.0
GOAL_PER_SECOND = 22_700  # frames of this size on a line of 1 Gbit/s
SHARE = 0.01
_DATABASE = "pipeline"


async def run(options: Options, server: database.Server) -> Finding:
    """Generate the capture, start the relay, and let both sides read it in turns."""
    folder = options.scratch
    taken = await asyncio.to_thread(capture.write, folder, options.size(100_000, 30_000), SHARE)
    certificate, key = replay.write_certificate(folder)
    cores = machine.cores() or (None, None)
    task = {"wire": str(taken.wire), "certificate": str(certificate), "key": str(key)}
    profiles: dict[str, str] = {}
    async with await children.Child.start("tests.bench.replay", task, core=cores[0]) as relay:
        port = (await relay.answer(60))["port"]

        async def side(module: str, *, profile: bool = False, lean: bool = False) -> Any:
            dsn = await server.fresh(_DATABASE)
            _prepare(dsn, taken)
            task = {
                "dsn": dsn,
                "port": port,
                "certificate": str(certificate),
                "last_seq": taken.last_seq,
                "profile": profile,
                "lean": lean,
            }
            environment = {"SSL_CERT_FILE": str(certificate)}
            async with await children.Child.start(
                module, task, core=cores[1], environment=environment
            ) as child:
                answer = await child.answer(600)
            require_equal("frames read", answer["n"], taken.frames)
            (check_ours if module == _OURS else check_sdk)(dsn, taken)
            return answer

        async def ours() -> Sample:
            return children.sample_of(await side(_OURS))

        async def sdk() -> Sample:
            return children.sample_of(await side(_SDK))

        pairs = await interleave(options.size(5, 3), ours, sdk)
        lean = children.sample_of(await side(_SDK, lean=True))
        if options.profile:
            profiles["pipeline"] = (await side(_OURS, profile=True))["profile"]
    server.drop(_DATABASE)
    mine, other = contest("plyr, verified", "SDK + INSERT per operation", pairs)
    return Finding(
        name="pipeline",
        title=f"TLS socket to committed rows, {taken.commits / taken.frames:.1%} of the frames ours",
        unit="frame",
        contestants=(mine, other),
        targets=(Target("of the SDK's consumer", tuple(pair.by_wall for pair in pairs), RATIO, AIM),),
        goals=(
            Goal("on one core, a full 1 Gbit/s line", mine.typical.per_second, GOAL_PER_SECOND, "frames/s"),
        ),
        gates=(
            f"{taken.commits:,} commits of ours applied by both, tracks and counters as booked",
            "no rejection, every account in sync, cursor on the last frame",
        ),
        notes=(
            f"{taken.size / taken.frames:,.0f} bytes a frame; the SDK's side verifies nothing",
            (
                "a consumer better than its documentation, that makes no models of other apps' records: "
                f"{lean.per_second:,.0f} frames/s, ours is {mine.typical.per_second / lean.per_second:.1f} ×"
            ),
        ),
        profiles=profiles,
    )


_OURS, _SDK = "tests.bench.pipeline", "tests.bench.sdk_consumer"


def _prepare(dsn: str, taken: Capture) -> None:
    """The accounts as known before the first frame, and the tables of the SDK's side."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(database.script("sdk"))
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                """
                insert into repo (did, pds, signing_key, identity_at, identity_due, state, rev, data)
                values (%(did)s, 'https://pds.example', %(signing_key)s, now(), null, 'active', %(rev)s,
                        %(data)s)
                """,
                taken.accounts,
            )
            cursor.execute(
                """
                insert into profile (repo_id, card, search)
                select id, format('"did":"%s","handle":"handle.invalid"', did), '' from repo
                """
            )
        connection.execute("checkpoint")


def check_ours(dsn: str, taken: Capture) -> None:
    """The gate for our tables. Raises WrongAnswer."""
    with psycopg.connect(dsn) as connection:

        def rows(query: str) -> list[Any]:
            return connection.execute(query.encode()).fetchall()

        require_equal("rejections", rows("select reason, count(*) from rejected_event group by reason"), [])
        tracks = {uri for (uri,) in rows("select s.uri from track t join track_uri s using (id)")}
        require_equal("tracks", tracks, taken.outcome.tracks)
        counts = {
            uri: (likes, comments)
            for uri, likes, comments in rows(_COUNTS.format("track_stat join track_uri using (id)"))
        }
        require_equal("counters", counts, taken.outcome.counts())
        require_equal("states of the accounts", rows("select distinct state from repo"), [("active",)])
        require_equal("cursor", rows("select seq from source_cursor"), [(taken.last_seq,)])


def check_sdk(dsn: str, taken: Capture) -> None:
    """The gate for the SDK's tables. Raises WrongAnswer."""
    with psycopg.connect(dsn) as connection:
        tracks = {uri for (uri,) in connection.execute("select uri from sdk.track").fetchall()}
        require_equal("tracks of the SDK's side", tracks, taken.outcome.tracks)
        found = connection.execute(_COUNTS.format("sdk.track_stat").encode()).fetchall()
        counts = {uri: (likes, comments) for uri, likes, comments in found}
        require_equal("counters of the SDK's side", counts, taken.outcome.counts())


_COUNTS = "select uri, likes, comments from {} where likes <> 0 or comments <> 0"


async def follow(task: dict[str, Any]) -> None:
    """Our side: follow the relay until everything is committed."""
    os.environ["SSL_CERT_FILE"] = task["certificate"]
    catalog = Catalog.load()
    async with (
        make_pool(task["dsn"], max_size=2, name="bench") as pool,
        GuardedClient(allow_loopback=True) as client,
    ):
        async with pool.connection() as connection:
            known = await repos.tracked(connection)
        interest = Interest(catalog.collections.own, {Did(did) for did in known})
        source = parse_source(f"wss://127.0.0.1:{task['port']}")
        follower = Follower(
            source,
            pool=pool,
            catalog=catalog,
            interest=interest,
            verifier=Verifier(IdentityResolver(client, "https://plc.directory"), dict(known)),
            status=SourceStatus(source.url),
        )
        spare_the_collector()
        profiler = cProfile.Profile(time.process_time)
        if task["profile"]:
            profiler.enable()
        started, cpu = time.perf_counter(), time.process_time()
        running = asyncio.create_task(follower.run())
        # Asked for every 2 ms: what is measured has no reason to know when it is done.
        while (follower.progress.committed or 0) < task["last_seq"] and not running.done():
            await asyncio.sleep(0.002)
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        if task["profile"]:
            profiler.disable()
        if running.done():
            running.result()  # raises what ended it
        seen = follower.progress.seen
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    sample = Sample(seen, wall_s, cpu_s, machine.own_peak_bytes())
    profile = profiling.top_ten(profiler, seen, "frame") if task["profile"] else ""
    children.say({**children.sample_json(sample), "profile": profile})


if __name__ == "__main__":
    children.main(follow)
