"""How often an artist's tracks are played: `/artists/{did}/analytics`, and for oneself each day of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from aiohttp import web

from appview.rest import shapes
from appview.rest.answers import answer, rest
from appview.rest.asker import Asker
from appview.rest.spec import Auth, described, query_of
from storage import analytics
from storage.analytics import Item, Totals
from storage.reader import Reads

DAYS, MOST_DAYS = 30, 366


class _Days(msgspec.Struct):
    days: Annotated[int, msgspec.Meta(ge=1, le=MOST_DAYS)] = DAYS


class Analytics:
    def __init__(self, reads: Reads, asker: Asker) -> None:
        self._reads = reads
        self._asker = asker

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/artists/me/analytics", rest(self.mine))
        router.add_get("/artists/me/analytics/days", rest(self.my_days))
        router.add_get("/artists/{did}/analytics", rest(self.of))

    @described("How often an artist's tracks were played", answer=shapes.Analytics)
    async def of(self, request: web.Request) -> web.StreamResponse:
        """Never 404: of who is unknown there is nothing."""
        return _answer(await analytics.totals(self._reads, request.match_info["did"]))

    @described("How often one's own tracks were played", answer=shapes.Analytics, auth=Auth.SESSION)
    async def mine(self, request: web.Request) -> web.StreamResponse:
        return _answer(await self._asker.own(request, analytics.totals))

    @described("And on which days", answer=shapes.Days, auth=Auth.SESSION, query=_Days)
    async def my_days(self, request: web.Request) -> web.StreamResponse:
        """`{days: [{day, plays}]}`, oldest first, today the last; `?days=` says how many."""
        wanted = query_of(request, _Days).days
        today = datetime.now(UTC).date()
        first = today - timedelta(days=wanted - 1)
        found = await self._asker.own(request, lambda reads, did: analytics.days(reads, did, first, today))
        return answer({"days": [{"day": day, "plays": plays} for day, plays in found]})


def _answer(found: Totals) -> web.Response:
    return answer(
        {
            "total_plays": found.plays,
            "total_items": found.tracks,
            "total_duration_seconds": found.duration_s,
            "top_item": _item(found.most_played),
            "top_liked": _item(found.most_liked),
        }
    )


def _item(item: Item | None) -> dict[str, object] | None:
    return None if item is None else {"id": item.id, "title": item.title, "play_count": item.count}
