"""How often an artist's tracks are played: `/artists/{did}/analytics`, and for oneself each day of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from aiohttp import web

from appview.auth.desk import Desk
from appview.rest.answers import Refused, answer, rest
from storage import analytics
from storage.analytics import Item
from storage.reader import Reads

DAYS, MOST_DAYS = 30, 366
_DAYS = re.compile(r"[1-9]\d{0,2}")


class Analytics:
    """Without a `desk` nobody is anybody here, and `me` is refused."""

    def __init__(self, reads: Reads, desk: Desk | None) -> None:
        self._reads = reads
        self._desk = desk

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/artists/me/analytics", rest(self.mine))
        router.add_get("/artists/me/analytics/days", rest(self.my_days))
        router.add_get("/artists/{did}/analytics", rest(self.of))

    async def of(self, request: web.Request) -> web.StreamResponse:
        """Never 404: of who is unknown there is nothing."""
        return await self._totals(request.match_info["did"])

    async def mine(self, request: web.Request) -> web.StreamResponse:
        return await self._totals(await self._me(request))

    async def my_days(self, request: web.Request) -> web.StreamResponse:
        """`{days: [{day, plays}]}`, oldest first, today the last; `?days=` says how many."""
        text = request.query.get("days", str(DAYS))
        if _DAYS.fullmatch(text) is None or int(text) > MOST_DAYS:
            raise Refused(422, f"days is a number from 1 to {MOST_DAYS}")
        today = datetime.now(UTC).date()
        first = today - timedelta(days=int(text) - 1)
        found = await analytics.days(self._reads, await self._me(request), first, today)
        return answer({"days": [{"day": day, "plays": plays} for day, plays in found]})

    async def _me(self, request: web.Request) -> str:
        if self._desk is None:
            raise Refused(401, "not authenticated - login required")
        return (await self._desk.asking(request)).session.did

    async def _totals(self, did: str) -> web.Response:
        found = await analytics.totals(self._reads, did)
        return answer(
            {
                "total_plays": found.plays,
                "total_items": found.tracks,
                "top_item": _item(found.most_played),
                "top_liked": _item(found.most_liked),
            }
        )


def _item(item: Item | None) -> dict[str, object] | None:
    return None if item is None else {"id": item.id, "title": item.title, "play_count": item.count}
