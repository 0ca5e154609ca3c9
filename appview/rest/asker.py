"""Who asks a REST route: for those that need somebody, and for those that show more to somebody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web

from appview.auth.ahead import Reading
from appview.auth.desk import Desk, lone_key
from appview.errors import Unauthenticated
from appview.guards import ViewerOf
from appview.rest.answers import Refused
from lexicons.syntax import Did
from storage.reader import Reads

T = TypeVar("T")


class Asker:
    """Without a `desk` nobody is anybody here, and whoever must be is refused."""

    def __init__(self, reads: Reads, desk: Desk | None, viewer_of: ViewerOf | None) -> None:
        self._reads = reads
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

    async def own(self, request: web.Request, reading: Reading[T]) -> T:
        """What is read for whose session it is. Raises Refused 401, and what `reading` does."""
        seen = await self._ahead(request, reading)
        return seen[1] if seen is not None else await reading(self._reads, await self.did(request))

    async def shown(self, request: web.Request, reading: Callable[[Reads, Did | None], Awaitable[T]]) -> T:
        """What is read for who asks, if anybody."""
        seen = await self._ahead(request, reading)
        return seen[1] if seen is not None else await reading(self._reads, await self.viewer(request))

    async def _ahead(self, request: web.Request, reading: Reading[T]) -> tuple[object, T] | None:
        key = None if self._desk is None else lone_key(request)
        return None if self._desk is None or key is None else await self._desk.sessions.read(key, reading)
