"""Builds the application: its parts are its arguments."""

from __future__ import annotations

from aiohttp import web

from appview import guards, wellknown
from appview.auth.assembly import Auth
from appview.gauges import IndexGauges
from appview.guards import Gate
from appview.incoming import expects
from appview.metrics import Metrics
from appview.rest.albums import Albums
from appview.rest.analytics import Analytics
from appview.rest.comments import Comments
from appview.rest.exports import Exports
from appview.rest.likes import Likes
from appview.rest.media import Media
from appview.rest.openapi import OpenApi
from appview.rest.plays import Plays
from appview.rest.preferences import Preferences
from appview.rest.tracks import Tracks
from appview.rest.uploads import Uploads
from appview.service import AppConfig, Service, TotalsCache
from appview.subscribe import LiveFeed
from appview.web.account import AccountPages
from appview.web.home import HomePage
from appview.web.site import Site
from appview.web.track import TrackPage
from appview.web.upload import UploadPages
from appview.xrpc.dispatch import Dispatcher
from lexicons.catalog import Catalog
from storage import (
    analytics,
    feed,
    health,
    lists,
    live,
    people,
    preferences,
    provenance,
    remarks,
    stats,
    used_tokens,
    viewers,
)
from storage.albums import STATEMENTS as ALBUMS
from storage.media import STATEMENTS as MEDIA
from storage.reader import Reader, Reads

METRICS = web.AppKey("metrics", Metrics)


def make_reader(dsn: str, *, connections: int = 4) -> Reader:
    """The way to the database that `build_app` wants, with every statement of the read modules."""
    return Reader(
        dsn,
        feed.STATEMENTS
        | people.STATEMENTS
        | lists.STATEMENTS
        | ALBUMS
        | stats.STATEMENTS
        | provenance.STATEMENTS
        | live.STATEMENTS
        | health.STATEMENTS
        | viewers.STATEMENTS
        | MEDIA
        | analytics.STATEMENTS
        | preferences.STATEMENTS
        | remarks.STATEMENTS,
        optional={"pg_trgm": feed.OPTIONAL["pg_trgm"] | people.OPTIONAL["pg_trgm"]},
        connections=connections,
    )


def make_writer(dsn: str) -> Reader:
    """The way to write what asking itself leaves behind: which tokens were used."""
    return Reader(dsn, used_tokens.STATEMENTS, connections=2, writes=True)


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
    likes: Likes | None = None,
    comments: Comments | None = None,
    albums: Albums | None = None,
) -> web.Application:
    """All routes. `dsn` is for the live feed to be told of new events; without it, it asks each second.
    Without `auth` nobody can sign in, without `media` there is no sound, without `uploads` none comes in,
    without `tracks` none is changed, without `plays` none is counted, without `exports` nobody takes theirs
    along, without `likes` and `comments` nobody says anything about a track, without `albums` there are none.
    Raises UnmatchedMethods if the lexicons and the handlers do not agree."""
    service = Service(
        reads,
        catalog,
        config,
        TotalsCache(reads, config.stats_ttl_s),
        None if uploads is None else uploads.receiver,
        plays,
    )
    metrics = Metrics()
    app = web.Application(client_max_size=1024 * 1024)
    app[METRICS] = metrics
    subscriptions = LiveFeed(reads, dsn, catalog.namespace, config.live, metrics)
    gate = Gate(config.guards, config.viewer_of, metrics)
    guards.install(app, gate)
    xrpc = Dispatcher(service, metrics, subscriptions, gate)

    async def stop(_: web.Application) -> None:
        await subscriptions.stop()

    app.on_shutdown.append(stop)
    router = app.router
    router.add_get("/xrpc/_health", wellknown.health(service))
    router.add_route("*", r"/xrpc/{nsid:[\s\S]*}", xrpc.handle, expect_handler=expects)
    router.add_route("*", "/xrpc", xrpc.handle)
    router.add_get("/.well-known/did.json", wellknown.did_document(service))
    router.add_get("/robots.txt", wellknown.robots)
    router.add_get("/metrics", wellknown.metrics_text(metrics, IndexGauges(reads, config.thresholds)))
    site = Site(service)
    own_pages = auth is not None and auth.desk.config.frontend_url is None
    router.add_get("/", HomePage(service, site, can_sign_in=own_pages).handle)
    router.add_get("/track/{id}", TrackPage(service, site, None if media is None else media.origins).handle)
    if auth is not None:
        auth.add_to(app)
        Preferences(auth.desk, reads).add_to(router)
        if own_pages:
            AccountPages(auth, site, catalog.collections, can_upload=uploads is not None).add_to(router)
    if media is not None:
        media.add_to(router)
    if tracks is not None:
        tracks.add_to(router)
    if uploads is not None:
        uploads.add_to(app)
        if own_pages:
            UploadPages(uploads, site).add_to(router)
    if plays is not None:
        plays.add_to(router)
    if albums is not None:
        albums.add_to(router)
    Analytics(reads, None if auth is None else auth.desk).add_to(router)
    if exports is not None:
        exports.add_to(app)
    if likes is not None:
        likes.add_to(router)
    if comments is not None:
        comments.add_to(router)
    OpenApi(config.version, config.public_url).add_to(router)
    return app
