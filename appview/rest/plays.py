"""`POST /tracks/{id}/play`: a play, counted once for each listener in the length of the track."""

from __future__ import annotations

from aiohttp import web

from appview.listeners import Listeners
from appview.play_counter import PlayCounter
from appview.rest import shapes
from appview.rest.answers import Refused, answer, rest
from appview.rest.ids import id_of
from appview.rest.spec import Auth, described


class Plays:
    def __init__(self, counter: PlayCounter, listeners: Listeners) -> None:
        self.counter = counter
        self.listeners = listeners

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/tracks/{track_id}/play", rest(self.play))

    @described(
        "Counts a play, once for each listener in the length of the track",
        answer=shapes.PlayCount,
        auth=Auth.OPTIONAL,
        errors={404: "`track not found`"},
    )
    async def play(self, request: web.Request) -> web.StreamResponse:
        """`{play_count}`, whether this one counted or not."""
        track_id = id_of(request, "track_id")
        heard = await self.listeners.of(request)
        counted = await self.counter.count(track_id, heard.listener)
        if counted is None:
            raise Refused(404, "track not found")
        response = answer({"play_count": counted.plays})
        self.listeners.give(response, heard)
        return response
