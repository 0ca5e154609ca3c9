"""What is said of the whole: `/stats`, `/health`."""

from __future__ import annotations

import asyncio

from aiohttp import web

from appview.rest import shapes
from appview.rest.answers import Refused, answer, rest
from appview.rest.spec import described
from appview.service import Service
from storage import stats

HEALTH_TIMEOUT_S = 1.5


class About:
    def __init__(self, service: Service) -> None:
        self._service = service

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/stats", rest(self.stats))
        router.add_get("/health", rest(self.health))

    @described("How much there is, and how often it was played", answer=shapes.Stats)
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
