"""What is said of the whole: `/stats`, `/health`, `/sitemap-data`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic

from aiohttp import web

from appview.rest import shapes, site_shapes
from appview.rest.answers import Refused, answer, answer_json, rest
from appview.rest.media import SIGHT_S
from appview.rest.spec import described
from appview.service import Service
from indexer.albums import slug
from storage import sitemap, stats
from storage.reader import Cell
from storage.sitemap import Mapped

HEALTH_TIMEOUT_S = 1.5
MOST_MAPPED = 10_000  # a sitemap takes 50,000 addresses, and a track may bring an artist and an album


class About:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._mapping = asyncio.Lock()
        self._map = b""
        self._map_until = 0.0

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/stats", rest(self.stats))
        router.add_get("/health", rest(self.health))
        router.add_get("/sitemap-data", rest(self.sitemap))

    @described(
        "How much there is, and how often it was played",
        answer=site_shapes.Stats,
        errors={503: "there is much, and nobody has counted it yet"},
    )
    async def stats(self, _: web.Request) -> web.StreamResponse:
        totals = await self._service.totals.get()
        return answer(
            {
                "total_plays": totals.plays,
                "total_tracks": totals.tracks,
                "total_artists": totals.artists,
                "total_duration_seconds": totals.seconds,
            }
        )

    @described("Whether the database answers", answer=shapes.Done, errors={503: "it does not"})
    async def health(self, _: web.Request) -> web.StreamResponse:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                await stats.alive(self._service.reads)
        except TimeoutError:
            raise Refused(503, "the database does not answer") from None
        return answer({"status": "ok"})

    @described("The newest tracks, with their artists and albums, for a sitemap", answer=site_shapes.Sitemap)
    async def sitemap(self, _: web.Request) -> web.StreamResponse:
        """It is long, so who asks at the same moment is told the same; what is hidden is soon out of it."""
        async with self._mapping:
            if monotonic() >= self._map_until:
                began = monotonic()
                newest = await sitemap.newest(self._service.reads, MOST_MAPPED)
                self._map = mapped(newest)
                self._map_until = began + min(SIGHT_S, self._service.config.stats_ttl_s)
            return answer_json(self._map)


def mapped(tracks: Sequence[Mapped]) -> bytes:
    """Addresses, each with the day of the newest track behind it, as JSON; `tracks` are newest first. Put
    together by hand: nothing of it needs quoting, and who asks for something else waits meanwhile."""
    artists: dict[Cell, Cell] = {}
    albums: dict[tuple[Cell, str], Cell] = {}
    titled: set[tuple[Cell, Cell]] = set()
    for _, day, handle, album in tracks:
        if handle is not None:
            artists.setdefault(handle, day)
            if album is not None and (handle, album) not in titled:
                titled.add((handle, album))
                albums.setdefault((handle, slug(album.decode())), day)
    listed = [b'{"id":%b,"updated":"%b"}' % (id, day) for id, day, _, _ in tracks]
    by = [b'{"handle":"%b","updated":"%b"}' % each for each in artists.items()]
    on = [
        b'{"handle":"%b","slug":"%b","updated":"%b"}' % (handle, name.encode(), day)
        for (handle, name), day in albums.items()
    ]
    return b'{"tracks":[%b],"artists":[%b],"albums":[%b]}' % tuple(map(b",".join, (listed, by, on)))
