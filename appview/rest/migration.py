"""`/migration/`: tracks of the collection that there was before, if there was one (`PLYR_OLD_NAMESPACE`)."""

from __future__ import annotations

from aiohttp import web

from appview.legacy import Legacy
from appview.media.attempt import Place
from appview.records import WriteFailed
from appview.rest import account_shapes
from appview.rest.actors import Actors, unwritten
from appview.rest.answers import Refused, answer, rest
from appview.rest.spec import Auth, described
from lexicons.syntax import Nsid


class Migration:
    """`old`: the collection of before; None: there was none."""

    def __init__(self, actors: Actors, place: Place, old: Nsid | None) -> None:
        self._actors = actors
        self._collection = place.catalog.collections.track
        self._legacy = None if old is None else Legacy(place, old)

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/migration/check", rest(self.check))
        router.add_post("/migration/migrate", rest(self.migrate))

    @described(
        "Whether whoever asks has tracks in the collection of before that are not here yet",
        answer=account_shapes.MigrationCheck,
        auth=Auth.ACTOR,
    )
    async def check(self, request: web.Request) -> web.StreamResponse:
        actor = await self._actors.of(request, self._collection)
        legacy = self._legacy
        try:
            found, left = (0, 0) if legacy is None else await legacy.count(actor)
        except WriteFailed as error:
            raise unwritten(f"cannot read your records: {error}", error) from error
        return answer(
            {
                "needs_migration": left > 0,
                "old_record_count": found,
                "old_collection": None if legacy is None else legacy.old,
                "new_collection": self._collection,
                "did": actor.did,
            }
        )

    @described(
        "Take them along; what is left for another request is said",
        answer=account_shapes.Migrated,
        auth=Auth.ACTOR,
        errors={400: "migration not available"},
    )
    async def migrate(self, request: web.Request) -> web.StreamResponse:
        actor = await self._actors.of(request, self._collection)
        if self._legacy is None:
            raise Refused(400, "migration not available")
        try:
            moved = await self._legacy.move(actor)
        except WriteFailed as error:
            raise unwritten(f"cannot read your records: {error}", error) from error
        return answer(
            {
                "migrated_count": moved.migrated,
                "deleted_count": 0,
                "failed_count": moved.failed,
                "remaining_count": moved.remaining,
                "errors": moved.errors,
            }
        )
