"""`/tracks/{id}/revisions`: what a track sounded like before, shown to its artist, who may have it back."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from appview.media.replacement import restore
from appview.rest import shapes
from appview.rest.answers import Refused, answer, rest
from appview.rest.ids import id_of
from appview.rest.spec import Auth, described
from appview.rest.tracks import Tracks
from indexer.cards import iso
from storage import track_media
from storage.track_media import Revision


class Revisions:
    """`tracks` knows whose they are."""

    def __init__(self, tracks: Tracks) -> None:
        self._tracks = tracks

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/tracks/{track_id}/revisions", rest(self.show))
        router.add_post("/tracks/{track_id}/revisions/{revision_id}/restore", rest(self.restore))

    @described(
        "What a track of one's own sounded like before",
        answer=shapes.RevisionList,
        auth=Auth.ACTOR,
        errors={403: "`you can only view revisions of your own tracks`", 404: "`track not found`"},
    )
    async def show(self, request: web.Request) -> web.StreamResponse:
        """The newest first; `id` counts within the track."""
        own = await self._tracks.own(request, "view revisions of")
        async with self._tracks.place.pool.connection() as conn:
            found = await track_media.revisions(conn, own.actor.did, own.rkey)
        return answer({"track_id": own.id, "revisions": [_shape(own.id, each) for each in found]})

    @described(
        "Gives a track of one's own an earlier sound again",
        answer=shapes.Restoring,
        auth=Auth.ACTOR,
        errors={
            403: "`you can only edit your own tracks`",
            404: "`track not found`, `revision not found`",
        },
    )
    async def restore(self, request: web.Request) -> web.StreamResponse:
        """The revision, and the id of the job that does it."""
        revision = id_of(request, "revision_id")
        own = await self._tracks.own(request, "edit")
        title = orjson.loads(await self._tracks.shape(own.id, None))["title"]
        receiver = self._tracks.uploads.receiver
        receiver.count(own.actor)
        did, session = own.actor.did, own.actor.session
        async with self._tracks.place.pool.connection() as conn, conn.transaction():
            begun = await restore(conn, receiver.queue, did, own.rkey, revision, session=session, title=title)
        if begun is None:
            raise Refused(404, "revision not found")
        id, found = begun
        return answer(_shape(own.id, found) | {"upload_id": str(id)})


def _shape(track: int, revision: Revision) -> dict[str, Any]:
    return {
        "id": revision.revision,
        "track_id": track,
        "created_at": iso(revision.replaced_at),
        "file_type": revision.file_type,
        "original_file_type": revision.original_file_type,
        "audio_storage": "r2",
        "duration": round(revision.duration_s),
        "was_gated": False,
    }
