"""`/`: what this server reads, how fresh it is, the latest tracks, and how to ask it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from appview.errors import NotCountedYet
from appview.service import Service
from appview.web.site import Site
from lexicons.syntax import Nsid
from storage import feed, keyset, stats
from storage.feed import TrackRow
from storage.reader import ReadFailed

TRACKS = 12
LIVE_S, SLOW_S = 30, 300


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A source as the page shows it; `state` is a CSS class."""

    host: str
    seq: int
    state: str
    age: str


@dataclass(frozen=True, slots=True)
class TrackCard:
    title: str
    artist: str
    handle: str
    link: str
    uri: str
    hue: int
    bars: tuple[int, ...]
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the page shows of the database; all empty when that cannot be reached."""

    broken: bool
    sources: Sequence[SourceLine] = ()
    totals: Sequence[tuple[str, str]] = ()
    tracks: Sequence[TrackCard] = ()


def ago(seconds: float) -> str:
    """A span of time as people say it."""
    if seconds < 2:
        return "just now"
    for unit, length in (("day", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''} ago"
    return f"{int(seconds)} s ago"


def clock(seconds: int) -> str:
    """A track's length: 3:05, 1:02:03."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def source_line(row: stats.SourceRow) -> SourceLine:
    state = "good" if row.age_s < LIVE_S else "slow" if row.age_s < SLOW_S else "bad"
    return SourceLine(urlsplit(row.url).netloc or row.url, row.seq, state, ago(row.age_s))


def track_card(row: TrackRow, now: datetime) -> TrackCard:
    """The few members of the cards that the page shows."""
    track = orjson.loads(b"{%b}" % row[1])
    author = orjson.loads(b"{%b}" % row[2])
    uri: str = track["uri"]
    digest = hashlib.sha256(uri.encode()).digest()
    age_s = (now - datetime.fromisoformat(track["indexedAt"])).total_seconds()
    facts = [ago(age_s)]
    length = track["audio"].get("durationS")
    if length is not None:
        facts.insert(0, clock(length))
    if likes := int(row[4] or 0):
        facts.append(f"♥ {likes:,}")
    return TrackCard(
        title=track["record"]["title"],
        artist=author.get("displayName") or track["record"]["artist"],
        handle=author["handle"],
        link=f"/track/{int(row[0] or 0)}",
        uri=uri,
        hue=int.from_bytes(digest[:2], "big") % 360,
        bars=tuple([4 + byte % 15 for byte in digest[2:7]]),
        facts=tuple(facts),
    )


class HomePage:
    """The first page."""

    def __init__(self, service: Service, site: Site, *, can_sign_in: bool = False) -> None:
        self._service = service
        self._site = site
        self._can_sign_in = can_sign_in
        catalog = service.catalog
        own = {
            nsid: method for nsid, method in catalog.queries().items() if nsid.startswith(catalog.namespace)
        }
        self._methods = sorted((nsid, method.description) for nsid, method in own.items())

    async def handle(self, request: web.Request) -> web.Response:
        snapshot = await self._snapshot(datetime.now(UTC))
        values = {
            "can_sign_in": self._can_sign_in,
            "broken": snapshot.broken,
            "sources": snapshot.sources,
            "totals": snapshot.totals,
            "tracks": snapshot.tracks,
            "methods": self._methods,
            "examples": self._examples(self._site.base(request), snapshot.tracks),
        }
        return self._site.page("home.html", values, status=503 if snapshot.broken else 200)

    async def _totals(self) -> dict[str, int]:
        """Nothing, as long as nobody has counted."""
        try:
            return (await self._service.totals.get()).counts()
        except NotCountedYet:
            return {}

    async def _snapshot(self, now: datetime) -> Snapshot:
        service = self._service
        try:
            page = await feed.XRPC.latest(service.reads, None, keyset.TIME_ID.start, TRACKS)
            sources = await stats.sources(service.reads)
            totals = await self._totals()
        except ReadFailed:
            return Snapshot(broken=True)
        shown = [(name, f"{count:,}") for name, count in totals.items() if count or name != "plays"]
        return Snapshot(
            broken=False,
            sources=[source_line(row) for row in sources],
            totals=shown,
            tracks=[track_card(row, now) for row in page.rows],
        )

    def _examples(self, base: str, tracks: Sequence[TrackCard]) -> list[tuple[str, str]]:
        namespace = self._service.catalog.namespace
        actor = next((track.handle for track in tracks if track.handle != "handle.invalid"), "plyr.fm")
        collection = Nsid(f"{namespace}.track")
        uri = tracks[0].uri if tracks else f"at://{actor}/{collection}/3jzfcijpj2z2a"

        def curl(method: str, query: str) -> str:
            return f"curl '{base}/xrpc/{namespace}.{method}?{query}'"

        return [
            ("The newest tracks of everybody:", curl("feed.getLatest", "limit=5")),
            ("What one person published, by handle or DID:", curl("feed.getActorTracks", f"actor={actor}")),
            ("One track:", curl("feed.getTrack", f"uri={uri}")),
            ("Words in titles, artists, albums and names:", curl("feed.searchTracks", "q=love")),
        ]
