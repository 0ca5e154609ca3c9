"""`/track/{id}`: one track, to be listened to. Without a script: the browser's own player, and our bytes.

What we do not have is not played here: a visitor's browser asks nobody else because of a page of ours.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import orjson
from aiohttp import web

from appview.media.container import OPUS
from appview.rest.ids import number
from appview.service import Service
from appview.web.home import track_card
from appview.web.site import Site
from storage import feed, media
from storage.feed import YES
from storage.media import TrackMedia
from storage.reader import ReadFailed


class TrackPage:
    """`origins`: where sound and images come from, as a Content-Security-Policy says it; None: nowhere."""

    def __init__(self, service: Service, site: Site, origins: str | None) -> None:
        self._service = service
        self._site = site
        self._origins = origins

    async def handle(self, request: web.Request) -> web.Response:
        id = number(request.match_info["id"])
        try:
            found = None if id is None else await feed.XRPC.by_id(self._service.reads, None, id)
            if id is None or found is None:
                return self._nothing(404, "There is no such track here", "It was removed, or never was.")
            has = await self._has(id)
        except ReadFailed:
            return self._nothing(503, "The database cannot be reached", "Try again in a moment.")
        (row,) = found.rows
        track = orjson.loads(b"{%b}" % self._service.config.sounds.in_card(row[1] or b""))
        namespace = self._service.catalog.namespace
        values = {
            "track": track_card(row, datetime.now(UTC)),
            "plays": int(row[3] or 0),
            "unlisted": row[7] == YES,
            "description": track["record"].get("description"),
            "has": has,
            "opus_type": OPUS.mime,
            "elsewhere": None if has.sound else link(track["audio"].get("url")),
            "oembed": f"/oembed?url={quote(f'{self._site.base(request)}/track/{id}', safe='')}",
            "data": f"/xrpc/{namespace}.feed.getTrack?uri={quote(track['uri'], safe='')}",
        }
        return self._site.page("track.html", values, media=self._origins)

    async def _has(self, track_id: int) -> TrackMedia:
        return TrackMedia() if self._origins is None else await media.of_track(self._service.reads, track_id)

    def _nothing(self, status: int, title: str, text: str) -> web.Response:
        return self._site.page("nothing.html", {"title": title, "text": text}, status=status)


def link(url: str | None) -> tuple[str, str] | None:
    """An address that a stranger wrote and its host, if a browser may be sent there."""
    try:
        parts = urlsplit(url or "")
        host = parts.hostname
    except ValueError:
        return None
    return (url or "", host) if parts.scheme in ("http", "https") and host else None
