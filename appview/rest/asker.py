"""Who asks a REST route: for those that need somebody, and for those that show more to somebody."""

from __future__ import annotations

from aiohttp import web

from appview.auth.desk import Desk
from appview.errors import Unauthenticated
from appview.guards import ViewerOf
from appview.rest.answers import Refused
from lexicons.syntax import Did


class Asker:
    """Without a `desk` nobody is anybody here, and whoever must be is refused."""

    def __init__(self, desk: Desk | None, viewer_of: ViewerOf | None) -> None:
        self._desk = desk
        self._viewer_of = viewer_of

    async def did(self, request: web.Request) -> Did:
        """Whose session it is. Raises Refused 401."""
        if self._desk is None:
            raise Refused(401, "not authenticated - login required")
        return Did((await self._desk.asking(request)).session.did)

    async def viewer(self, request: web.Request) -> Did | None:
        """Who asks, if anybody; a key that does not hold is as none."""
        if self._viewer_of is None:
            return None
        try:
            viewer = await self._viewer_of(request)
        except Unauthenticated:
            return None
        return None if viewer is None else viewer.did
