"""`/embed/…`: small pages that stand within others: a player for a track, and an artist's tracks.

Nothing on them acts in anybody's name, so it does no harm who shows them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web

from appview.rest import present
from appview.rest.answers import Handler
from appview.service import Service
from appview.web.site import Site
from storage import feed, keyset, media, people
from storage.media import TrackMedia
from storage.reader import ReadFailed

MOST = 50
_ID = re.compile(r"[1-9]\d{0,17}")


class Missing(Exception):
    """There is no such thing to be shown."""


class EmbedPages:
    """`origins`: where sound and images come from; None: nowhere. `home`: whose pages links lead to; None:
    ours."""

    def __init__(self, service: Service, site: Site, origins: str | None, home: str | None) -> None:
        self._reads = service.reads
        self._site = site
        self._origins = origins
        self._home = home

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/embed/track/{id}", self._answering(self.track))
        router.add_get("/embed/artist/{handle}", self._answering(self.artist))

    def _answering(self, make: Callable[[web.Request], Awaitable[web.Response]]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await make(request)
            except Missing:
                return self._nothing(404, "There is nothing to play here", "It was removed, or never was.")
            except ReadFailed:
                return self._nothing(503, "The database cannot be reached", "Try again in a moment.")

        return handle

    async def track(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        row = await feed.REST.by_id(self._reads, None, int(id)) if _ID.fullmatch(id) else None
        if row is None:
            raise Missing
        has = TrackMedia() if self._origins is None else await media.of_track(self._reads, int(id))
        track = orjson.loads(await present.track(self._reads, row))
        values = {"track": track, "has": has, "page": f"{self._home or ''}/track/{id}"}
        return self._page("embed_track.html", values)

    async def artist(self, request: web.Request) -> web.Response:
        handle = request.match_info["handle"]
        found = None if "\0" in handle else await people.actor(self._reads, handle)
        if found is None:
            raise Missing
        rows = await feed.REST.by_actor(self._reads, None, found.repo_id, keyset.TIME_ID.start, MOST)
        tracks = [orjson.loads(each) for each in await present.tracks(self._reads, rows.rows)]
        name = tracks[0]["artist"] if tracks else handle
        page = None if self._home is None else f"{self._home}/u/{quote(handle)}"
        return self._page("embed_list.html", {"title": name, "by": None, "tracks": tracks, "page": page})

    def _page(self, template: str, values: dict[str, Any]) -> web.Response:
        return self._site.page(template, values, media=self._origins, framed=True)

    def _nothing(self, status: int, title: str, text: str) -> web.Response:
        values = {"title": title, "text": text}
        return self._site.page("embed_nothing.html", values, status=status, framed=True)
