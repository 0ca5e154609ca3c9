"""`/search/handles`: somebody by the beginning of their handle or name, out of our own index."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from appview.rest import present, site_shapes
from appview.rest.answers import answer_json, rest
from appview.rest.spec import described, query_of
from storage import keyset, people
from storage.reader import Reads
from storage.spread import Spreads


class HandleQuery(msgspec.Struct):
    q: Annotated[str, msgspec.Meta(min_length=2, max_length=256)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=25)] = 10


class Handles:
    def __init__(self, reads: Reads, spreads: Spreads) -> None:
        self._reads = reads
        self._spreads = spreads

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/search/handles", rest(self.find))

    @described(
        "People by how their handle or name begins", query=HandleQuery, answer=site_shapes.FoundHandles
    )
    async def find(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, HandleQuery)
        text, spread = asked.q.removeprefix("@"), await self._spreads.get()
        page = await people.search(self._reads, spread, text, keyset.RANK_REPO.start, asked.limit)
        found = [present.artist(row.card).person for row in page.rows]
        return answer_json(b'{"results":[%b]}' % b",".join(found))
