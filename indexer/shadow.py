"""Everything computed again from the archive, compared with the tables, and put in their place if wanted.

    segments + unsealed outbox ─▶ fold (DuckDB) ─▶ shares ─▶ workers: parse, render, copy ─┐
              │                     └─▶ accounts, chains, names ───────── copy ────────────┤
              └─ one snapshot ───────────────────────────────▶ compare ◀── plyr_replay ◀───┘

The tables are read as of the moment at which the outbox was, so `ingest` may go on. Replacing them makes
writers wait from the beginning to the end, and readers for the moment of the swap.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import orjson
import psycopg

from indexer import fold as chains
from indexer.fold import Folded
from indexer.projector import Task, project
from lexicons.catalog import Catalog
from storage import archive, segment, shadow
from storage.fold import Fold
from storage.postgres import Connection
from storage.shadow import Difference

SMALL = 20_000  # records: up to here, processes cost more than they save
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MEMORY = "1GB"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Replayed:
    """`entries` of the archive gave so many `records`; `differences` is empty if every table was right."""

    entries: int
    records: int
    head: int
    differences: list[Difference]


async def replay(
    dsn: str,
    folder: Path,
    namespace: str,
    *,
    promote: bool = False,
    workers: int = 2,
    progress: Progress = lambda _: None,
) -> Replayed:
    """Replay the archive in `folder` and the outbox, and compare; with `promote`, the tables are replaced.

    Raises BrokenSegment when the archive is not whole, UnknownStep when it is from another version.
    """
    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as real,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as builder,
        real.transaction(),
    ):
        if promote:
            await shadow.freeze(real)
        else:
            await shadow.snapshot(real)
        with tempfile.TemporaryDirectory(prefix="plyr-replay-", dir=_roomy(folder)) as scratch:
            files, head = await _gather(real, folder, Path(scratch), progress)
            await shadow.begin(builder)
            entries, records = await _rebuild(dsn, files, Path(scratch), namespace, workers, progress)
        progress("comparing")
        async with builder.transaction():
            differences = await shadow.differences(real, builder)
        if promote:
            progress("building indexes")
            await shadow.index(builder)
            await shadow.swap(real)
        else:
            await shadow.end(builder)
    return Replayed(entries, records, head, differences)


def _roomy(folder: Path) -> Path | None:
    """Where there is room for the archive there is some for what is made of it; else wherever it is usual."""
    return folder if os.access(folder, os.W_OK) else None


async def _gather(
    real: Connection, folder: Path, scratch: Path, progress: Progress
) -> tuple[list[Path], int]:
    """The segments, proven whole, with the unsealed rest as one more; and the last seq."""
    segments = await archive.segments(real)
    progress(f"checking the files, {len(segments):,} of them")
    for one in segments:
        await asyncio.to_thread(segment.verify, folder, one)
    above = segments[-1].last_seq if segments else 0
    files = [folder / one.path for one in segments]
    with (scratch / "unsealed").open("wb") as lines:
        spooled = await archive.spool(real, lines, above=above)
    if spooled is None:
        return files, above
    rest = await asyncio.to_thread(
        segment.write,
        scratch,
        scratch / "unsealed",
        first_seq=above + 1,
        last_seq=spooled.last_seq,
        month="rest",
    )
    return [*files, scratch / rest.path], spooled.last_seq


async def _rebuild(
    dsn: str, files: list[Path], scratch: Path, namespace: str, workers: int, progress: Progress
) -> tuple[int, int]:
    """Fill the shadows. Returns how many entries there were, and how many records they came to."""
    collections = Catalog.load(namespace).collections
    loop = asyncio.get_running_loop()
    with segment.connect(threads=workers, memory=_MEMORY, scratch=scratch) as db:
        progress("folding")
        fold = await asyncio.to_thread(Fold, db, files)
        entries, versions = fold.counts
        progress(f"computing {versions:,} versions of records from {entries:,} events")
        parts = await asyncio.to_thread(
            fold.share, scratch, workers * 2, own=collections.profile, bluesky=collections.bsky_profile
        )
        await asyncio.to_thread(_reserve, dsn, fold.highest_list)
        with _executor(versions, workers) as executor:
            work = [loop.run_in_executor(executor, project, Task(dsn, namespace, part)) for part in parts]
            await asyncio.to_thread(_load, dsn, fold)
            records = sum(await asyncio.gather(*work))
    await asyncio.to_thread(_finish, dsn)
    return entries, records


def _executor(versions: int, workers: int) -> Executor:
    """Processes of their own for the parsing, where that pays. Spawned: threads of ours are running."""
    if versions <= SMALL:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _reserve(dsn: str, lists: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        shadow.reserve_lists(conn, lists)


def _load(dsn: str, fold: Fold) -> None:
    """Accounts with their repos, names, what is set aside, and whom to leave out."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        shadow.load_rows(conn, "track_uri", fold.names())
        repos = dict(chains.folded(fold.steps()))
        rows = (
            (
                a.id,
                a.did,
                a.handle,
                a.pds,
                a.signing_key,
                a.active,
                a.status,
                a.taken_down,
                *_columns(repos.get(a.did, Folded())),
                _moment(a.since_us),
                a.withheld,
            )
            for a in fold.accounts()
        )
        shadow.load_rows(conn, "repo", rows)
        rejected = (
            (r.source, bytes.fromhex(r.digest), r.seq, r.did, r.reason, r.detail, r.raw, _moment(r.at_us))
            for r in fold.rejected()
        )
        shadow.load_rows(conn, "rejected", rejected)
        hashes = ((bytes.fromhex(digest), _moment(at_us)) for digest, at_us in fold.forgotten())
        shadow.load_rows(conn, "forgotten", hashes)


def _finish(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        shadow.finish(conn)


def _columns(repo: Folded) -> tuple[str | None, ...]:
    chain = repo.chain
    gaps = orjson.dumps([asdict(gap) for gap in chain.gaps]).decode()
    return repo.state, chain.rev, chain.data, gaps, repo.synced_rev, repo.forked_rev


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
