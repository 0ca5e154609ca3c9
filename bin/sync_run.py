"""`plyr sync run`: finds accounts, reads their repos whole as they come due, and compares, until it is told
to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog

from bin.settings import Settings
from bin.status import PartStatus, StatusWriter
from bin.stopping import until_stopped
from firehose.hosts import SyncHost
from firehose.identity import IdentityResolver
from firehose.lanes import Lanes
from firehose.net import GuardedClient
from indexer.archivist import Archivist
from indexer.deletion import Wiper
from indexer.discover import Discoverer
from indexer.dumper import Dumper
from indexer.ingest import spare_the_collector
from indexer.labelers import LabelerFollower
from indexer.pulse import PulseCounter
from indexer.reconcile import Reconciler
from indexer.resync import Progress, Resyncer
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import health
from storage.postgres import AWAY, Pool, make_pool

log = structlog.get_logger()

COUNT_EVERY_S = 5.0
RATE_OVER_S = 10
CONNECTIONS = 11


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes settings alone


def run(args: argparse.Namespace, settings: Settings) -> int:
    catalog = Catalog.load(settings.namespace)
    try:
        asyncio.run(until_stopped(synchronize(settings, catalog, args.status_fd)))
    finally:
        gc.unfreeze()  # DuckDB counts what is left of it at the end, and complains
    return 0


async def synchronize(settings: Settings, catalog: Catalog, status_fd: int | None = None) -> None:
    """Everything that makes the index whole. Ends by cancellation, or with what one of its parts could
    not handle."""
    assert settings.database_url
    async with (
        make_pool(settings.database_url, max_size=CONNECTIONS, name="plyr sync") as pool,
        GuardedClient(settings.dev_loopback, max_connections_per_host=settings.host_requests) as client,
    ):
        lanes = Lanes(settings.host_requests)
        resyncer = Resyncer(
            pool=pool, catalog=catalog, client=client, lanes=lanes, folder=_folder(settings.data_dir)
        )
        archivist = Archivist(
            pool=pool,
            folder=settings.archive_folder,
            outbox_hours=settings.outbox_hours,
            seal_entries=settings.seal_entries,
            seal_age_s=settings.seal_minutes * 60,
        )
        dumper = Dumper(
            pool=pool,
            catalog=catalog,
            folder=settings.dump_folder,
            every_s=settings.dump_hours * 3600,
            keep=settings.dump_keep,
        )
        discoverer = Discoverer(
            pool=pool,
            catalog=catalog,
            hosts=[SyncHost(client, origin, lanes) for origin in settings.listing_hosts],
            every_s=settings.discovery_hours * 3600,
        )
        resolvers = [settings.handle_resolver] if settings.handle_resolver else []
        reconciler = Reconciler(
            pool=pool,
            resolver=IdentityResolver(client, settings.plc_url, handle_resolvers=resolvers),
            host=lambda origin: SyncHost(client, origin, lanes),
            every_s=settings.reconcile_hours * 3600,
        )
        endless: list[Coroutine[Any, Any, None]] = [
            discoverer.run(),
            resyncer.run(),
            reconciler.run(),
            PulseCounter(pool).run(),
            archivist.run(),
            dumper.run(),
            Wiper(pool, archive=settings.archive_folder, dumps=settings.dump_folder).run(),
            *(
                LabelerFollower(
                    pool=pool,
                    client=client,
                    plc_url=settings.plc_url,
                    did=Did(did),
                    collections=catalog.collections,
                ).run()
                for did in settings.labelers
            ),
            _report(resyncer.progress, pool, StatusWriter(status_fd)),
        ]
        spare_the_collector()
        async with asyncio.TaskGroup() as tasks:
            for one in endless:
                tasks.create_task(one)


def _folder(data_dir: Path) -> str:
    """Where repos that are too large for memory are put while they are read."""
    folder = data_dir / "repos"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


async def _report(progress: Progress, pool: Pool, status: StatusWriter) -> None:
    """Say each second how it goes; what takes counting, less often."""
    done: deque[tuple[float, int]] = deque(maxlen=RATE_OVER_S + 1)
    count_at = float("-inf")
    said: PartStatus = {"part": "sync"}
    while True:
        now = time.monotonic()
        if now >= count_at:
            try:
                async with pool.connection() as conn:
                    seen = await health.ask(conn)
            except AWAY as error:
                log.warning("cannot count the repos", error=str(error).strip())
                count_at = now + COUNT_EVERY_S
            else:
                said["repos"], said["due"] = seen.states, seen.resync_due
                if seen.sweep is not None and seen.sweep.score is not None:
                    said["score"] = seen.sweep.score
                # With a million repos it takes a second: no more than a twentieth of the time goes into that.
                count_at = now + max(COUNT_EVERY_S, 20 * (time.monotonic() - now))
        done.append((now, progress.read))
        seconds = max(now - done[0][0], 1e-3)
        said["running"] = progress.running
        said["resyncs_per_s"] = round((progress.read - done[0][1]) / seconds, 1)
        said["resyncs_failed"] = progress.failed
        status.write(said)
        await asyncio.sleep(1)
