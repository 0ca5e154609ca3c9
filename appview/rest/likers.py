"""Who likes a track: `/tracks/{id}/likes`."""

from __future__ import annotations

import orjson
from aiohttp import web

from appview.rest import present, shapes
from appview.rest.answers import Refused, answer_json, rest
from appview.rest.ids import id_of
from appview.rest.spec import described
from storage import feed, keyset
from storage.feed import LikeRow
from storage.reader import Cell, Reads

MOST = 100


class Likers:
    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/tracks/{track_id}/likes", rest(self.of))

    @described("Who likes a track, latest first", answer=shapes.Likers, errors={404: "`track not found`"})
    async def of(self, request: web.Request) -> web.StreamResponse:
        """At most the latest hundred; `count` is all of them."""
        track_id = id_of(request, "track_id")
        track = await feed.REST.by_id(self._reads, None, track_id)
        if track is None:
            raise Refused(404, "track not found")
        page = await feed.likes_of(self._reads, track_id, keyset.TIME_REPO.start, MOST)
        users = b",".join(map(_liker, page.rows))
        count = orjson.loads(track.text)["like_count"]
        return answer_json(b'{"users":[%b],"count":%d}' % (users, count))


def _liker(row: LikeRow) -> bytes:
    card, _, _, liked_at = row
    return b'%b,"liked_at":"%b"}' % (present.artist(card or b"").person[:-1], iso(liked_at))


def iso(time: Cell) -> bytes:
    """Postgres' text of a UTC time as `datetime.isoformat()` writes it."""
    return (time or b"").replace(b" ", b"T").replace(b"+00", b"+00:00")
