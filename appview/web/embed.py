"""`/embed/…`: small pages that stand within others: a track to play, an album, a playlist, an artist.

Nothing on them acts in anybody's name, so it does no harm who shows them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from aiohttp import web

from appview.rest import present
from appview.rest.albums import Shown
from appview.rest.answers import Handler
from appview.rest.ids import number
from appview.service import Service
from appview.web.site import Site
from storage import feed, keyset, media, people, playlists
from storage.feed import Tracks
from storage.media import TrackMedia
from storage.reader import ReadFailed

MOST = 50


class Missing(Exception):
    """There is no such thing to be shown."""


class EmbedPages:
    """`origins`: where sound and images come from; None: nowhere. `home`: whose pages links lead to; None:
    ours."""

    def __init__(
        self, service: Service, site: Site, origins: str | None, home: str | None, albums: Shown
    ) -> None:
        self._reads = service.reads
        self._sounds = service.config.sounds
        self._site = site
        self._origins = origins
        self._home = home
        self._albums = albums

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/embed/track/{id}", self._answering(self.track))
        router.add_get("/embed/album/{handle}/{slug}", self._answering(self.album))
        router.add_get("/embed/playlist/{id}", self._answering(self.playlist))
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
        id = number(request.match_info["id"])
        found = None if id is None else await feed.REST.by_id(self._reads, None, id)
        if id is None or found is None:
            raise Missing
        has = TrackMedia() if self._origins is None else await media.of_track(self._reads, id)
        track = present.parsed(found, self._sounds)[0]
        values = {"track": track, "has": has, "page": f"{self._home or ''}/track/{id}"}
        return self._page("embed_track.html", values)

    async def album(self, request: web.Request) -> web.Response:
        handle, slug = request.match_info["handle"], request.match_info["slug"]
        found = None if "\0" in handle + slug else await self._albums.whole(self._reads, None, handle, slug)
        if found is None:
            raise Missing
        row, tracks = found
        by = present.artist(row.author)
        page = f"/u/{quote(handle)}/album/{quote(slug, safe='')}"
        return self._list(row.title, by.name, tracks, page)

    async def playlist(self, request: web.Request) -> web.Response:
        id = number(request.match_info["id"])
        row = None if id is None else await playlists.get(self._reads, id)
        if row is None:
            raise Missing
        tracks = await playlists.tracks(self._reads, None, row.id)
        return self._list(row.name, present.artist(row.author).name, tracks, f"/playlist/{id}")

    async def artist(self, request: web.Request) -> web.Response:
        handle = request.match_info["handle"]
        found = None if "\0" in handle else await people.actor(self._reads, handle)
        if found is None:
            raise Missing
        tracks = await feed.REST.by_actor(self._reads, None, found.repo_id, keyset.TIME_ID.start, MOST)
        return self._list(None, None, tracks, f"/u/{quote(handle)}", handle)

    def _list(
        self, title: str | None, by: str | None, tracks: Tracks, path: str, handle: str = ""
    ) -> web.Response:
        """`path`: where a frontend shows more of it. Without a title it is all by one artist."""
        shown = present.parsed(tracks, self._sounds)[:MOST]
        values = {
            "title": title or (shown[0]["artist"] if shown else handle),
            "by": by,
            "tracks": shown,
            "page": None if self._home is None else self._home + path,
        }
        return self._page("embed_list.html", values)

    def _page(self, template: str, values: dict[str, Any]) -> web.Response:
        return self._site.page(template, values, media=self._origins, framed=True)

    def _nothing(self, status: int, title: str, text: str) -> web.Response:
        values = {"title": title, "text": text}
        return self._site.page("embed_nothing.html", values, status=status, framed=True)
