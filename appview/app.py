"""Builds the application: its parts are its arguments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from aiohttp import web

from appview import guards, wellknown
from appview.auth.assembly import Auth
from appview.gauges import IndexGauges
from appview.guards import Gate
from appview.incoming import expects
from appview.metrics import Metrics
from appview.moderation.board import Board
from appview.moderation.label_stream import LabelStream
from appview.moderation.labeler import Labeler
from appview.moderation.labels import Labels
from appview.moderation.reports import Reports
from appview.rest.about import About
from appview.rest.albums import Shown
from appview.rest.analytics import Analytics
from appview.rest.asker import Asker
from appview.rest.backlinks import Backlinks
from appview.rest.exports import Exports
from appview.rest.handles import Handles
from appview.rest.likers import Likers
from appview.rest.listings import Listings
from appview.rest.media import Media
from appview.rest.openapi import OpenApi
from appview.rest.plays import Plays
from appview.rest.preferences import Preferences
from appview.rest.queue import Queues
from appview.rest.revisions import Revisions
from appview.rest.search import Search
from appview.rest.sensitive import SensitiveImages
from appview.rest.tags import Tags
from appview.rest.tracks import Tracks
from appview.rest.uploads import Uploads
from appview.service import AppConfig, Service, TotalsCache
from appview.subscribe import LiveFeed
from appview.web.account import AccountPages
from appview.web.embed import EmbedPages
from appview.web.failures import readable
from appview.web.home import HomePage
from appview.web.moderation import Judges, ModerationPages
from appview.web.oembed import OEmbed
from appview.web.site import Site
from appview.web.track import TrackPage
from appview.web.transparency import Transparency
from appview.web.upload import UploadPages
from appview.xrpc.dispatch import Dispatcher
from lexicons.catalog import Catalog
from storage import (
    analytics,
    artists,
    backlinks,
    feed,
    finding,
    health,
    lists,
    live,
    now_playing,
    people,
    player_queue,
    playlists,
    preferences,
    provenance,
    remarks,
    rest_feed,
    sensitive_images,
    sitemap,
    spread,
    stats,
    transparency,
    used_tokens,
    viewers,
)
from storage.albums import STATEMENTS as ALBUMS
from storage.foreign_labels import STATEMENTS as FOREIGN_LABELS
from storage.labels import STATEMENTS as LABELS
from storage.media import STATEMENTS as MEDIA
from storage.postgres import Pool
from storage.reader import Reader, Reads

METRICS = web.AppKey("metrics", Metrics)
_READ: tuple[dict[str, str], ...] = (
    ALBUMS,
    analytics.STATEMENTS,
    backlinks.STATEMENTS,
    artists.STATEMENTS,
    feed.STATEMENTS,
    finding.STATEMENTS,
    health.STATEMENTS,
    FOREIGN_LABELS,
    LABELS,
    lists.STATEMENTS,
    live.STATEMENTS,
    MEDIA,
    now_playing.STATEMENTS,
    people.STATEMENTS,
    playlists.STATEMENTS,
    player_queue.STATEMENTS,
    preferences.STATEMENTS,
    provenance.STATEMENTS,
    remarks.STATEMENTS,
    rest_feed.STATEMENTS,
    sensitive_images.STATEMENTS,
    sitemap.STATEMENTS,
    spread.STATEMENTS,
    stats.STATEMENTS,
    transparency.STATEMENTS,
    viewers.STATEMENTS,
)


class Routes(Protocol):
    """Some of the application's routes."""

    def add_to(self, router: web.UrlDispatcher) -> None: ...


_STATEMENTS = {name: statement for each in _READ for name, statement in each.items()}
_OPTIONAL = {"pg_trgm": feed.OPTIONAL["pg_trgm"] | people.OPTIONAL["pg_trgm"]}


def make_reader(dsn: str, *, connections: int = 4) -> Reader:
    """The way to the database that `build_app` wants, with every statement of the read modules."""
    return Reader(dsn, _STATEMENTS, optional=_OPTIONAL, connections=connections)


def make_writer(dsn: str) -> Reader:
    """The same for those whose asking itself leaves something behind: which tokens were used."""
    statements = _STATEMENTS | used_tokens.STATEMENTS
    return Reader(dsn, statements, optional=_OPTIONAL, connections=4, writes=True)


def build_app(
    reads: Reads,
    catalog: Catalog,
    config: AppConfig,
    *,
    dsn: str | None = None,
    auth: Auth | None = None,
    media: Media | None = None,
    uploads: Uploads | None = None,
    tracks: Tracks | None = None,
    plays: Plays | None = None,
    exports: Exports | None = None,
    judges: Judges | None = None,
    labels: tuple[Labels, Pool] | None = None,
    reports: Reports | None = None,
    routes: Iterable[Routes] = (),
) -> web.Application:
    """All routes. `dsn` is for the live feed to be told of new events; without it, it asks each second.
    Without `auth` nobody can sign in, without `media` there is no sound, without `uploads` none comes in,
    without `tracks` none is changed, without `plays` none is counted, without `exports` nobody takes theirs
    along, without `judges` nothing is judged here, without `labels` (and the way to sign them anew) we label
    nothing, without `reports` nothing can be reported. `routes` are all others. Raises UnmatchedMethods if
    lexicons and handlers do not agree."""
    labeler = None if labels is None else Labeler(labels[0], reads, labels[1])
    service = Service(
        reads,
        catalog,
        config,
        TotalsCache(reads, config.stats_ttl_s),
        spread.Spreads(reads),
        None if uploads is None else uploads.receiver,
        plays,
        None if auth is None else auth.desk.pool,
        labeler,
        reports,
        Board(reads, catalog.collections, others=config.other_labelers, fresh_s=config.labels_fresh_s),
    )
    metrics = Metrics()
    app = web.Application(client_max_size=1024 * 1024)
    app[METRICS] = metrics
    subscriptions = LiveFeed(reads, dsn, catalog.namespace, config.live, metrics)
    gate = Gate(config.guards, config.viewer_of, metrics)
    site = Site(service)
    guards.install(app, gate, readable=readable(site))
    label_stream = None if labeler is None else LabelStream(labeler, dsn, config.live, metrics)
    xrpc = Dispatcher(service, metrics, subscriptions, gate, label_stream)

    async def stop(_: web.Application) -> None:
        await subscriptions.stop()
        if label_stream is not None:
            await label_stream.stop()

    async def count_errors(_: web.Application) -> AsyncIterator[None]:
        with metrics.counting_errors():
            yield

    app.cleanup_ctx.append(count_errors)
    app.on_shutdown.append(stop)
    router = app.router
    asker = Asker(reads, None if auth is None else auth.desk, config.viewer_of)
    # What begins alike is tried in this order. Lists of tracks are asked for most.
    Listings(reads, asker, catalog.collections, config.sounds).add_to(router)
    router.add_get("/xrpc/_health", wellknown.health(service))
    router.add_route("*", r"/xrpc/{nsid:[\s\S]*}", xrpc.handle, expect_handler=expects)
    router.add_route("*", "/xrpc", xrpc.handle)
    router.add_get("/.well-known/did.json", wellknown.did_document(service))
    router.add_get("/robots.txt", wellknown.robots)
    router.add_get("/metrics", wellknown.metrics_text(metrics, IndexGauges(reads, config.thresholds)))
    own_pages = auth is not None and auth.desk.config.frontend_url is None
    router.add_get("/", HomePage(service, site, can_sign_in=own_pages).handle)
    origins = None if media is None else media.origins
    router.add_get("/track/{id}", TrackPage(service, site, origins).handle)
    home = None if auth is None else auth.desk.config.frontend_url
    shown = Shown(reads, config.public_url or "", catalog.collections, config.sounds)
    EmbedPages(service, site, origins, home, shown).add_to(router)
    OEmbed(service, site, home, shown).add_to(router)
    About(service).add_to(router)
    SensitiveImages(reads, config.public_url).add_to(router)
    Handles(reads, service.spreads).add_to(router)
    if auth is not None:
        auth.add_to(app)
        Preferences(auth.desk, asker).add_to(router)
        Queues(auth.desk, reads, config.sounds).add_to(router)
        if own_pages:
            AccountPages(
                auth,
                site,
                catalog.collections,
                can_upload=uploads is not None,
                moderators=frozenset() if judges is None else judges.moderators,
            ).add_to(router)
        if judges is not None and judges.moderators:
            ModerationPages(auth.desk, site, catalog.collections.track, judges, media).add_to(router)
    if media is not None:
        media.add_to(router)
    if tracks is not None:
        tracks.add_to(router)
        Revisions(tracks).add_to(router)
    if uploads is not None:
        uploads.add_to(app)
        if own_pages:
            UploadPages(uploads, site).add_to(router)
    if plays is not None:
        plays.add_to(router)
    for part in (
        Tags(reads, asker, config.sounds),
        Likers(reads),
        Search(reads, service.spreads, config.sounds),
    ):
        part.add_to(router)
    Analytics(reads, asker).add_to(router)
    if exports is not None:
        exports.add_to(app)
    Backlinks(reads, catalog.collections).add_to(router)
    Transparency(reads, site, fresh_s=config.stats_ttl_s).add_to(router)
    for each in routes:
        each.add_to(router)
    OpenApi(config.version, config.public_url).add_to(router)
    return app
