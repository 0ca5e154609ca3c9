"""`plyr ingest`: reads the sources and indexes what is ours, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from bin.settings import Settings
from bin.status import SourceStatus as ShownSource
from bin.status import StatusWriter
from bin.stopping import until_stopped
from firehose.events import Frame
from firehose.filter import Interest
from firehose.frames import BadFrame
from firehose.hosts import SyncHost
from firehose.identity import IdentityResolver
from firehose.jetstream import read_any
from firehose.lanes import Lanes
from firehose.net import GuardedClient
from firehose.relay import BadSource, Source, SourceKind, SourceState, SourceStatus, parse_source
from indexer.hosting import Hosting
from indexer.ingest import Follower, Limits, spare_the_collector
from indexer.newcomers import Newcomers
from indexer.upkeep import Upkeep
from indexer.verifier import Verifier
from lexicons.catalog import Catalog
from lexicons.syntax import InvalidSyntax, parse_datetime
from storage import cursors, forgotten, repos
from storage.postgres import make_pool

CATCHING_UP_S = 60.0
JETSTREAM_REWIND_US = 10_000_000
PATIENCE_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--forget-cursor",
        action="store_true",
        help="forget where these sources were left, as after a host lost its history, and start anew",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        sources = [parse_source(text) for text in settings.sources]
    except BadSource as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 2
    catalog = Catalog.load(settings.namespace)
    asyncio.run(until_stopped(ingest(settings, catalog, sources, args.status_fd, args.forget_cursor)))
    return 0


async def ingest(
    settings: Settings,
    catalog: Catalog,
    sources: Sequence[Source],
    status_fd: int | None = None,
    forget_cursor: bool = False,
) -> None:
    """Follow all sources. Ends by cancellation, or with what one of its parts could not handle."""
    assert settings.database_url
    resolvers = [settings.handle_resolver] if settings.handle_resolver else []
    async with (
        make_pool(settings.database_url, max_size=len(sources) + 4, name="plyr ingest") as pool,
        GuardedClient(settings.dev_loopback) as client,
    ):
        async with pool.connection() as conn:
            newest = await repos.newest(conn)
            keys = await repos.tracked(conn)
            passed_by = await forgotten.hashes(conn)
            if forget_cursor:
                for source in sources:
                    await cursors.forget(conn, source.url)
        resolver = IdentityResolver(client, settings.plc_url, handle_resolvers=resolvers)
        verifier = Verifier(resolver, keys)
        lanes = Lanes()
        hosting = Hosting(lambda origin: SyncHost(client, origin, lanes))
        upkeep = Upkeep(
            pool=pool,
            catalog=catalog,
            resolver=resolver,
            verifier=verifier,
            host=lambda origin: SyncHost(client, origin, lanes),
            hosting=hosting,
        )
        interest = Interest(catalog.collections.own, set(keys))
        interest.forgotten = passed_by
        followers = [
            Follower(
                source,
                pool=pool,
                catalog=catalog,
                interest=interest,
                verifier=verifier,
                status=SourceStatus(source.url),
                start=0 if settings.start == "oldest" else None,
                limits=limits_of(source, sources, settings.rewind_events),
                expired=upkeep.wake,
                hosting=hosting,
            )
            for source in sources
        ]
        spare_the_collector()
        async with asyncio.TaskGroup() as tasks:
            for follower in followers:
                tasks.create_task(follower.run())
            tasks.create_task(upkeep.run())
            tasks.create_task(Newcomers(pool, interest, newest).run())
            tasks.create_task(_report(followers, StatusWriter(status_fd)))


def limits_of(source: Source, sources: Sequence[Source], rewind_events: int) -> Limits:
    """How a source is followed. A Jetstream beside a source with proofs waits for that one."""
    if source.kind is SourceKind.FIREHOSE:
        return Limits(rewind=rewind_events)
    alone = all(other.kind is SourceKind.JETSTREAM for other in sources)
    return Limits(rewind=JETSTREAM_REWIND_US, patience_s=0.0 if alone else PATIENCE_S)


async def _report(followers: Sequence[Follower], status: StatusWriter) -> None:
    """Say each second how it goes."""
    seen = [0] * len(followers)
    at = time.monotonic()
    while True:
        await asyncio.sleep(1)
        now = time.monotonic()
        shown: list[ShownSource] = []
        for n, follower in enumerate(followers):
            rate = (follower.progress.seen - seen[n]) / max(now - at, 1e-3)
            seen[n] = follower.progress.seen
            shown.append(_shown(follower, rate))
        at = now
        waiting = sum(f.progress.rejected for f in followers)
        status.write({"part": "ingest", "sources": shown, "rejected": waiting})


def _shown(follower: Follower, rate: float) -> ShownSource:
    status, progress = follower.status, follower.progress
    connected = status.state is SourceState.CONNECTED
    lag_s = _lag_s(progress.newest, status.last_frame_at) if connected else None
    state = status.state.value
    if connected:
        state = "catching up" if lag_s is not None and lag_s > CATCHING_UP_S and rate > 1 else "live"
    return {
        "url": status.url,
        "state": state,
        "seq": progress.committed,
        "lag_s": lag_s,
        "events_per_s": round(rate, 1),
        "error": progress.notice or (None if connected else status.last_error),
    }


def _lag_s(raw: bytes, received_at: float | None) -> float | None:
    """How old the newest frame was when it came, by the time that the source put into it."""
    if not raw or received_at is None:
        return None
    try:
        frame = read_any(raw)
        if not isinstance(frame, Frame):
            return None
        return max(0.0, received_at - parse_datetime(str(frame.body.get("time"))).timestamp())
    except (BadFrame, InvalidSyntax):
        return None
