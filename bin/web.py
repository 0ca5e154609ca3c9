"""`plyr web`: answers requests, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic

import psycopg
import structlog
from aiohttp import web

from appview.app import METRICS, build_app, make_reader, make_writer
from appview.auth.keyring import KeyRing
from appview.auth.service_tokens import DOCUMENT_TTL_S, MOST_KEYS, ServiceTokens
from appview.auth.viewers import Viewers
from appview.clients import Clients
from appview.guards import GuardConfig
from appview.jobs.watch import JobWatch
from appview.labelers import Labeler
from appview.limits import Limit
from appview.listeners import Listeners, eraser
from appview.media.receive import Receiver
from appview.media.serve import ServeConfig
from appview.media.signed import Links
from appview.moderation.labels import Labels
from appview.moderation.reports import Reports
from appview.play_counter import PlayCounter
from appview.port import BACKLOG, listen
from appview.protocol import make_runner
from appview.rest.actors import Actors
from appview.rest.album_edits import AlbumEdits
from appview.rest.albums import Albums, Shown
from appview.rest.artists import Artists
from appview.rest.asker import Asker
from appview.rest.comments import Comments
from appview.rest.exports import Exports
from appview.rest.likes import Likes
from appview.rest.media import Media
from appview.rest.migration import Migration
from appview.rest.now_playing import Playings
from appview.rest.pictures import Pictures
from appview.rest.playlist_edits import PlaylistEdits
from appview.rest.playlists import Playlists, ShownLists
from appview.rest.plays import Plays
from appview.rest.restoring import Restoring
from appview.rest.tracks import Tracks
from appview.rest.uploads import Uploads
from appview.service import AppConfig
from appview.subscriber import LiveConfig
from appview.web.moderation import Judges
from bin import VERSION, blob_store, open_files
from bin.kinds import job_queue
from bin.moderating import home, policy
from bin.settings import Settings
from bin.signing_in import key_ring, signing_in
from bin.status import StatusWriter
from bin.sync_status import thresholds
from bin.uploading import sound_origins, track_place, upload_limits
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Nsid
from storage import (
    jobs,
    list_look,
    mirrors,
    now_playing,
    player_queue,
    preferences,
    remarks,
    track_media,
    turns,
)
from storage.postgres import Pool, make_pool
from storage.reader import Reads

log = structlog.get_logger()

# Requests that are under way have this long twice: as if nothing were, then without the rest of their bodies.
# Whoever is being sent a sound takes both, who follows a feed is gone before (`appview.subscriber`), and
# `plyr up` kills what has not ended after 3 s.
SHUTDOWN_S = 1.0
WRITERS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--connections", type=_count, default=4, metavar="N", help="database connections to read through [4]"
    )


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 100):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100")
    return int(text)


def run(args: argparse.Namespace, settings: Settings) -> int:
    catalog = Catalog.load(settings.namespace)
    try:
        asyncio.run(serve(settings, catalog, args.connections, args.status_fd))
    except OSError as error:
        print(f"plyr: cannot listen on {settings.host}:{settings.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


async def serve(settings: Settings, catalog: Catalog, connections: int, status_fd: int | None) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError if the address cannot be listened on."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with application(settings, catalog, connections) as app:
        most = open_files.connections(open_files.allow_most())
        runner = make_runner(app, most_connections=most, shutdown_timeout_s=SHUTDOWN_S)
        await runner.setup()
        try:
            await listen(runner, settings.host, settings.port, backlog=min(BACKLOG, most))
            address = _address(runner)
            if status_fd is None:
                print(f"answering at {address}", flush=True)
            await _report(app, address, StatusWriter(status_fd), stop)
        finally:
            await runner.cleanup()


@asynccontextmanager
async def application(
    settings: Settings,
    catalog: Catalog,
    connections: int = 4,
    *,
    reader: Callable[..., AbstractAsyncContextManager[Reads]] = make_reader,
) -> AsyncIterator[web.Application]:
    """All that answers, and its ways to the database and to others as long as the block lasts. `reader` is
    called as `make_reader`."""
    assert settings.database_url
    # A port that is not chosen yet cannot be part of a name.
    did = settings.service_did if settings.port or settings.public_url else None
    clients = Clients(map(ipaddress.ip_network, settings.trusted_proxies))
    ring = key_ring(settings)
    async with (
        reader(settings.database_url, connections=connections) as reads,
        make_writer(settings.database_url) as writes,
        make_pool(settings.database_url, max_size=WRITERS, name="plyr web") as pool,
        GuardedClient(settings.dev_loopback) as client,
        # A track that everybody plays must not keep anybody from signing in.
        make_pool(settings.database_url, max_size=WRITERS, name="plyr plays") as play_pool,
        signing_in(
            settings,
            catalog,
            reads,
            pool,
            client,
            ring=ring,
            client_of=clients.address,
            # In the order in which a job takes hold of them.
            private=[
                eraser(ring),
                jobs.erase,
                track_media.erase,
                mirrors.erase,
                preferences.erase,
                turns.erase,
                remarks.erase,
                player_queue.erase,
                list_look.erase,
                now_playing.erase,
            ],
        ) as auth,
        # Strangers make us look them up. That must not keep anybody from signing in.
        GuardedClient(settings.dev_loopback, max_connections=20) as strangers,
        blob_store.opened(settings) as store,
    ):
        services = ServiceTokens(
            reads=reads,
            writes=writes,
            resolver=IdentityResolver(
                strangers,
                settings.plc_url,
                check_handles=False,
                ttl_s=DOCUMENT_TTL_S,
                cache_size=MOST_KEYS,
            ),
            audiences={*settings.extra_dids, *([did] if did else [])},
        )
        sounds = sound_origins(settings)
        viewer_of = Viewers(clients, services=services, sessions=auth.sessions).of
        config = AppConfig(
            version=VERSION,
            public_url=settings.public_url,
            service_did=did,
            home=home(settings),
            live=LiveConfig(max_subscribers=settings.live_subscribers),
            thresholds=thresholds(settings),
            guards=guards(settings, clients),
            sounds=sounds,
            labelers=() if did is None else (Labeler(Did(did)),),
            other_labelers=tuple(map(Did, settings.labelers)),
            viewer_of=viewer_of,
        )
        secure = auth.desk.config.secure
        listeners = Listeners(play_pool, ring, clients, viewer_of, secure=secure)
        counter = PlayCounter(play_pool, per_address=settings.plays_per_address)
        links = Links(ring)
        watch = JobWatch(settings.database_url, pool)
        media = Media(
            reads,
            store,
            links,
            ServeConfig(settings.media_accel, settings.media_url, settings.media_link_s),
            sounds,
            settings.public_url,
        )
        receiver = Receiver(pool, store, job_queue(), catalog, upload_limits(settings))
        uploads = Uploads(receiver, auth.desk, reads, watch)
        place = track_place(settings, catalog, pool, store, auth.pds)
        actors, asker = Actors(auth.desk, place), Asker(reads, auth.desk, viewer_of)
        pictures = Pictures(place, receiver.limits.max_image_bytes)
        shown = Shown(reads, place.public_url, catalog.collections, sounds)
        shown_lists = ShownLists(reads, shown, catalog.collections)
        labels = None if did is None else await own_labels(Did(did), pool, ring)
        yield build_app(
            reads,
            catalog,
            config,
            dsn=settings.database_url,
            auth=auth,
            media=media,
            uploads=uploads,
            tracks=Tracks(uploads, place, reads, viewer_of, pictures, sounds),
            plays=Plays(counter, listeners),
            exports=Exports(auth.desk, job_queue(), watch, store, links),
            judges=Judges(frozenset(map(Did, settings.moderators)), policy(settings, catalog, ring)),
            labels=None if labels is None else (labels, pool),
            reports=Reports(pool, catalog.collections.own, Limit(settings.reports_per_hour, 3600)),
            routes=(
                Albums(shown, asker),
                AlbumEdits(shown, actors, place, pictures),
                Artists(auth.desk, place, reads),
                Comments(actors, place, reads),
                Likes(actors, place),
                Restoring(actors, place, reads, sounds),
                Playlists(shown_lists, actors, asker),
                PlaylistEdits(shown_lists, actors, place, pictures),
                Migration(actors, place, old_collection(settings)),
                Playings(auth.desk, reads, settings.frontend_url or place.public_url, sounds),
            ),
        )


async def own_labels(did: Did, pool: Pool, ring: KeyRing) -> Labels:
    """Our labels. The key that signs them is made at the first start, or as soon as the database is there."""
    labels = Labels(ring, did)
    try:
        async with pool.connection() as conn:
            await labels.begin(conn)
    except psycopg.OperationalError as error:
        log.warning("the key of our labels cannot be read yet", reason=str(error))
    return labels


def old_collection(settings: Settings) -> Nsid | None:
    """Where tracks were before."""
    return None if settings.old_namespace is None else Nsid(f"{settings.old_namespace}.track")


def guards(settings: Settings, clients: Clients) -> GuardConfig:
    """What the settings say about who may come in."""
    limit = Limit(settings.rate_limit, settings.rate_window_s) if settings.rate_limit else None
    public, secret = settings.public_url, settings.admin_token
    return GuardConfig(
        clients=clients,
        limit=limit,
        origins=frozenset(filter(None, (*settings.allowed_origins, public, settings.frontend_url))),
        admin_token=secret.get_secret_value() if secret else None,
        https=public is not None and public.startswith("https:"),
    )


def _address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


async def _report(app: web.Application, address: str, status: StatusWriter, stop: asyncio.Event) -> None:
    """Say each second how it goes, until the end is asked for."""
    metrics = app[METRICS]
    seen, at = 0, monotonic()
    while not stop.is_set():
        now = monotonic()
        rate = (metrics.total - seen) / max(now - at, 1e-3)
        seen, at = metrics.total, now
        status.write({"part": "web", "address": address, "requests": seen, "requests_per_s": round(rate, 1)})
        try:
            async with asyncio.timeout(1):
                await stop.wait()
        except TimeoutError:
            continue
