"""The house's own jobs: what nobody asked for and has to be done again and again."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import psycopg

from appview.jobs.tasks import Done, Run, TryLater, Work
from appview.moderation.terms import terms
from indexer.replay import name_old_albums, render_old
from indexer.written import doubt_unproven
from lexicons.syntax import Nsid, tid_from_us
from storage import far_sounds, fingerprints, jobs, list_look, now_playing, remarks, stats, track_media, turns
from storage.blobs.collector import collect
from storage.blobs.store import BlobStore
from storage.postgres import Pool

KEEP_JOBS_DAYS, KEEP_HOUSE_DAYS = 30, 1
SETTLED_S = 300.0  # since a track was published, before it can be taken for deleted
LEFT_S = 3600.0  # since a list was given a cover, before it can be taken for deleted
ECHO_S = 900  # that a record of ours may take to come back
_BATCH = 100


def collect_blobs(dsn: str, store: BlobStore, *, grace: timedelta, keep: timedelta) -> Run:
    """Removes blobs that nobody needs, and uploads that stand still."""

    async def run(work: Work) -> Done:
        # A connection of its own: the store may take its time, and others wait for those of the pool.
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            done = await collect(conn, store, grace=grace, keep=keep, now=datetime.now(UTC))
        counts = {"blobs": done.blobs, "bytes": done.bytes, "uploads": done.uploads}
        if done.failed is not None:
            raise TryLater(done.failed)
        return Done("Removed what nobody needs.", counts)

    return run


def forget_jobs(pool: Pool) -> Run:
    """Removes jobs that ended long ago."""

    async def run(work: Work) -> Done:
        async with pool.connection() as conn:
            return Done(
                "Removed old jobs.",
                {"jobs": await jobs.forget_old(conn, days=KEEP_JOBS_DAYS, house_days=KEEP_HOUSE_DAYS)},
            )

    return run


def sweep_tracks(pool: Pool, collection: Nsid) -> Run:
    """Lets go of the blobs of tracks that were deleted elsewhere, or whose account is forgotten, and
    of what is known of their addresses."""

    async def run(work: Work) -> Done:
        count = 0
        while True:
            async with pool.connection() as conn, conn.transaction():
                found = await track_media.left_behind(conn, collection, age_s=SETTLED_S, limit=_BATCH)
                for did, rkey in found:
                    await track_media.remove(conn, did, rkey)
            count += len(found)
            if len(found) < _BATCH:
                break
        async with pool.connection() as conn:
            await far_sounds.drop_gone(conn)
        return Done("Let go of what was deleted elsewhere.", {"tracks": count})

    return run


def sweep_lists(pool: Pool) -> Run:
    """Lets go of what people gave lists that are gone, and names albums from before these had ids."""

    async def run(work: Work) -> Done:
        counts = {"lists": 0, "named": 0}
        while True:
            async with pool.connection() as conn, conn.transaction():
                found = await list_look.left_behind(conn, age_s=LEFT_S, limit=_BATCH)
                for did, name in found:
                    await list_look.remove(conn, did, name)
                named = await name_old_albums(conn, limit=_BATCH)
            counts = {"lists": counts["lists"] + len(found), "named": counts["named"] + named}
            if max(len(found), named) < _BATCH:
                return Done("Let go of what is of no list any more.", counts)

    return run


def doubt_records(pool: Pool) -> Run:
    """Has the repos read of whoever has a record that the firehose did not prove in time; what was left of
    writing others is forgotten."""

    async def run(work: Work) -> Done:
        before = tid_from_us(time.time_ns() // 1000 - ECHO_S * 1_000_000)
        async with pool.connection() as conn:
            await turns.tidy(conn)
            await remarks.tidy(conn)
            return Done("Doubted what nobody proved.", {"repos": await doubt_unproven(conn, before=before)})

    return run


def render_tracks(pool: Pool) -> Run:
    """Renders for the REST interface what was indexed before there was one."""

    async def run(work: Work) -> Done:
        count = 0
        while True:
            async with pool.connection() as conn, conn.transaction():
                rendered = await render_old(conn, limit=_BATCH)
            count += rendered
            if rendered < _BATCH:
                return Done("Rendered old tracks.", {"tracks": count})

    return run


def index_sounds(pool: Pool) -> Run:
    """Has sounds found by their fingerprints that are not yet: before the index, or elsewhere."""

    async def run(work: Work) -> Done:
        count = 0
        while True:
            async with pool.connection() as conn, conn.transaction():
                found = await fingerprints.unindexed(conn, limit=_BATCH)
                for sound_id, fingerprint in found:
                    await fingerprints.put(conn, sound_id, terms(fingerprint))
            count += len(found)
            if len(found) < _BATCH:
                return Done("Indexed sounds by their fingerprints.", {"sounds": count})

    return run


def forget_playing(pool: Pool) -> Run:
    """Removes what players said that went away without a word."""

    async def run(work: Work) -> Done:
        async with pool.connection() as conn:
            return Done("Forgot what nobody plays any more.", {"players": await now_playing.forget(conn)})

    return run


def count_totals(pool: Pool) -> Run:
    """Counts all that there is; the result is what is told where there is much of it."""

    async def run(work: Work) -> Done:
        async with pool.connection() as conn:
            return Done("Counted what there is.", asdict(await stats.count(conn)))

    return run
