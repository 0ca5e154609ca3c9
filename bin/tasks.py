"""Whoever does each kind of job (bin/kinds.py), and what they need for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from appview.jobs import house
from appview.jobs.far_sounds import check_sounds
from appview.jobs.images import render_images
from appview.jobs.links import check_links
from appview.jobs.plays import play_tasks
from appview.jobs.tasks import Task
from appview.media.export import Exporter
from appview.media.leftovers import Leftovers
from appview.media.listening import Listening
from appview.media.mirror import Mirrors
from appview.media.mirror_fetch import MirrorConfig
from appview.media.opus import OpusRenditions
from appview.media.pipeline import Uploads
from appview.media.replacement import Replacements
from appview.moderation.deadlines import restore_what_is_due
from appview.moderation.scanning import Scans
from bin import blob_store
from bin.kinds import job_queue
from bin.moderating import policy
from bin.scanning import scanner
from bin.settings import Settings
from bin.signing_in import acting, key_ring
from bin.uploading import sound_origins, track_place
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from storage.postgres import Pool


@asynccontextmanager
async def tasks(settings: Settings, catalog: Catalog, pool: Pool) -> AsyncIterator[list[Task]]:
    """With their clients as long as the block lasts."""
    assert settings.database_url
    async with (
        blob_store.opened(settings) as store,
        GuardedClient(settings.dev_loopback) as http,
        acting(settings, catalog, pool, http, ring=key_ring(settings)) as pds,
    ):
        grace, keep = timedelta(hours=settings.blob_grace_hours), timedelta(hours=settings.upload_keep_hours)
        place = track_place(settings, catalog, pool, store, pds)
        mirrored = MirrorConfig(
            scratch=place.scratch,
            max_bytes=settings.mirror_max_mb << 20,
            account_bytes=settings.mirror_account_mb << 20,
            total_bytes=settings.mirror_total_mb << 20,
            max_duration_s=place.max_duration_s,
        )
        yield [
            Task("blobs.collect", house.collect_blobs(settings.database_url, store, grace=grace, keep=keep)),
            Task("images.render", render_images(pool, store, place.scratch)),
            Task("jobs.forget", house.forget_jobs(pool)),
            Task("links.check", check_links(pool, http, settings.backlinks_url, catalog.collections.like)),
            Task("lists.sweep", house.sweep_lists(pool)),
            Task("moderation.sweep", restore_what_is_due(pool, policy(settings, catalog))),
            Task("playing.forget", house.forget_playing(pool)),
            Task("records.doubt", house.doubt_records(pool)),
            Task("sounds.check", check_sounds(pool, http, sound_origins(settings))),
            Task("sounds.index", house.index_sounds(pool)),
            Task("stats.count", house.count_totals(pool)),
            Task("tracks.render", house.render_tracks(pool)),
            Task("tracks.sweep", house.sweep_tracks(pool, catalog.collections.track)),
            Leftovers(place).task,
            Replacements(place).task,
            *Exporter(pool, store, keep_days=settings.export_keep_days).tasks,
            *Mirrors(pool, store, http, job_queue(), catalog, mirrored).tasks,
            *Scans(pool, scanner(settings, pool, http, store, catalog.collections.track), job_queue()).tasks,
            *Listening(pool, store, job_queue(), place.scratch).tasks,
            *OpusRenditions(pool, store, job_queue(), place.scratch).tasks,
            Uploads(place).task,
            *play_tasks(pool, settings.play_folder),
        ]
