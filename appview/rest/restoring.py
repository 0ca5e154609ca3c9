"""`POST /tracks/{id}/restore-record`: a record that its PDS has lost is written again, under its old key."""

from __future__ import annotations

from aiohttp import web

from appview.auth.acting import Actor
from appview.media.attempt import Place
from appview.own_records import OwnRecords
from appview.records import Declined, Record, Records, WriteFailed
from appview.rest import present, shapes
from appview.rest.actors import Actors, unwritten
from appview.rest.answers import Refused, answer_json, rest
from appview.rest.ids import id_of
from appview.rest.spec import Auth, described
from appview.sound_origins import SoundOrigins
from lexicons.datamodel import decode, to_json
from lexicons.syntax import Rkey
from storage import feed, track_media
from storage.reader import Reads


class Restoring:
    def __init__(self, actors: Actors, place: Place, reads: Reads, sounds: SoundOrigins) -> None:
        self._actors = actors
        self._place = place
        self._reads = reads
        self._sounds = sounds
        self._collection = place.catalog.collections.track

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/tracks/{track_id}/restore-record", rest(self.restore))

    @described(
        "Writes the record of one's own track again, where the PDS has lost it",
        answer=shapes.RestoredRecord,
        auth=Auth.ACTOR,
        errors={
            400: "`already_has_record` with its uri, or `no_public_url`: the PDS alone had the sound",
            403: "`you can only restore your own tracks`",
            404: "`track not found`",
            500: "the PDS refuses",
            502: "the PDS is away",
        },
    )
    async def restore(self, request: web.Request) -> web.StreamResponse:
        id = id_of(request, "track_id")
        actor = await self._actors.of(request, self._collection)
        rkey, record = await self._held(id, actor)
        uri = f"at://{actor.did}/{self._collection}/{rkey}"
        try:
            there = await Records(self._place.pds, actor.session, actor.did).get(self._collection, rkey)
            if there is not None:
                message = "this track has its record"
                raise Refused(400, {"error": "already_has_record", "message": message, "uri": uri})
            await self._write(actor, rkey, record)
        except WriteFailed as error:
            raise unwritten("failed to restore the record", error) from error
        found = await feed.REST.by_id(self._reads, actor.did, id)
        if found is None:
            raise Refused(404, "track not found")
        track = present.listed(found, self._sounds)
        return answer_json(b'{"success":true,"track":%b,"restored_uri":"%b"}' % (track, uri.encode()))

    async def _held(self, id: int, actor: Actor) -> tuple[Rkey, Record]:
        """The key and the newest version that we have. Raises Refused."""
        async with self._place.pool.connection() as conn:
            found = await track_media.of_id(conn, id)
            if found is None:
                raise Refused(404, "track not found")
            did, rkey = found
            if did != actor.did:
                raise Refused(403, "you can only restore your own tracks")
            version = await track_media.version(conn, did, self._collection, rkey)
        if version is None or version[1] is None:
            raise Refused(404, "track not found")
        return rkey, to_json(decode(version[1]))

    async def _write(self, actor: Actor, rkey: Rkey, record: Record) -> None:
        """A PDS that has lost a record may have let go of its blob, too; then the address alone has to do."""
        records = OwnRecords(self._place, actor.session, actor.did, self._collection)
        try:
            await records.write(rkey, record, fresh=True)
        except Declined as error:
            if "audioBlob" not in record or "blob" not in str(error).lower():
                raise
            if "audioUrl" not in record:
                message = "the sound was on the PDS alone, which does not have it any more"
                raise Refused(400, {"error": "no_public_url", "message": message}) from error
            without = {name: value for name, value in record.items() if name != "audioBlob"}
            await records.write(rkey, without, fresh=True)
