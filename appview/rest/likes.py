"""`/tracks/{id}/like`: a like, given and taken back. It is on the person's PDS and in the index when this
answers."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from appview.media.attempt import Place
from appview.own_likes import OwnLikes
from appview.records import WriteFailed
from appview.rest.actors import Actors, unwritten
from appview.rest.answers import Refused, answer, rest
from appview.rest.ids import id_of
from appview.rest.spec import Auth, described
from appview.subjects import NoRecord, NoTrack

_ERRORS = {
    401: "nobody is signed in, or has to sign in anew",
    403: "the grant does not cover likes",
    404: "track not found",
    500: "the PDS refuses",
    502: "the PDS is away",
}


class Liked(msgspec.Struct, omit_defaults=True):
    """`atproto_uri`: of the like that was written just now."""

    liked: bool
    atproto_uri: str | None = None


class Likes:
    def __init__(self, actors: Actors, place: Place) -> None:
        self._actors = actors
        self._place = place

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/tracks/{track_id}/like", rest(self.like))
        router.add_delete("/tracks/{track_id}/like", rest(self.unlike))

    @described(
        "Like a track; who likes it already, goes on doing so",
        answer=Liked,
        auth=Auth.ACTOR,
        errors={**_ERRORS, 422: "the track's own record is gone"},
    )
    async def like(self, request: web.Request) -> web.StreamResponse:
        likes, id = await self._own(request)
        try:
            uri = await likes.like(id)
        except NoTrack:
            raise Refused(404, "track not found") from None
        except NoRecord:
            raise Refused(422, _missing_record()) from None
        except WriteFailed as error:
            raise unwritten("failed to like track - please try again", error) from error
        return answer({"liked": True} | ({} if uri is None else {"atproto_uri": uri}))

    @described(
        "Take a like back, wherever it was given; who does not like the track, goes on so",
        answer=Liked,
        auth=Auth.ACTOR,
        errors=_ERRORS,
    )
    async def unlike(self, request: web.Request) -> web.StreamResponse:
        likes, id = await self._own(request)
        try:
            await likes.unlike(id)
        except NoTrack:
            raise Refused(404, "track not found") from None
        except WriteFailed as error:
            raise unwritten("failed to unlike track - please try again", error) from error
        return answer({"liked": False})

    async def _own(self, request: web.Request) -> tuple[OwnLikes, int]:
        id = id_of(request, "track_id")
        actor = await self._actors.of(request, self._place.catalog.collections.like)
        return OwnLikes(self._place, actor.session, actor.did), id


def _missing_record() -> dict[str, Any]:
    message = "this track's record is not on its artist's PDS any more, so it cannot be liked"
    return {"error": "missing_atproto_record", "message": message}
