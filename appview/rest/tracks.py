"""`/tracks/{id}`: shown to everybody; changed, given another sound and deleted by its artist.

A change is on the artist's PDS before it is anywhere else, and in the answer, which is read from the index.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson
from aiohttp import web

from appview.auth.acting import Actor
from appview.errors import PayloadTooLarge
from appview.guards import ViewerOf
from appview.media import scratch
from appview.media.attempt import Place
from appview.media.failures import MediaFailed
from appview.media.receive import MIB
from appview.media.record_steps import image_url
from appview.media.track_record import Edit, edited
from appview.own_tracks import NoSuchTrack, OwnTracks
from appview.records import Away, Put, Record, WriteFailed
from appview.rest import present, shapes
from appview.rest.actors import unwritten
from appview.rest.answers import Refused, answer, answer_json, rest
from appview.rest.asker import Asker
from appview.rest.features import features_of
from appview.rest.form import Form
from appview.rest.ids import id_of
from appview.rest.pictures import Pictures, written
from appview.rest.resumable import too_large
from appview.rest.spec import Auth, described
from appview.rest.tags import tags_of
from appview.rest.uploads import Uploads
from appview.sound_origins import SoundOrigins
from lexicons.records import InvalidRecord
from lexicons.syntax import AtUri, Did, Rkey
from storage import feed, track_media, tracks
from storage.blobs.rows import Blob
from storage.feed import Tracks as Found
from storage.postgres import Connection
from storage.reader import Reads

_TEXTS = ("title", "album", "description", "features", "tags")
_FORM: dict[str, type] = {**dict.fromkeys(_TEXTS, str), "image": bytes}


@dataclass(frozen=True, slots=True)
class OwnTrack:
    """A track of whoever asks."""

    id: int
    actor: Actor
    rkey: Rkey


class Tracks:
    """`uploads` takes what comes in, and knows who asks."""

    def __init__(
        self,
        uploads: Uploads,
        place: Place,
        reads: Reads,
        viewer_of: ViewerOf,
        pictures: Pictures,
        sounds: SoundOrigins,
    ) -> None:
        self.uploads = uploads
        self.place = place
        self._reads = reads
        self._sounds = sounds
        self._asker = Asker(reads, uploads.desk, viewer_of)
        self._pictures = pictures

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/tracks/{track_id}", rest(self.show))
        router.add_patch("/tracks/{track_id}", rest(self.change))
        router.add_delete("/tracks/{track_id}", rest(self.delete))
        router.add_put("/tracks/{track_id}/audio", rest(self.replace))

    @described("A track", answer=shapes.Track, auth=Auth.OPTIONAL, errors={404: "`track not found`"})
    async def show(self, request: web.Request) -> web.StreamResponse:
        """The track, to whoever asks; `is_liked` is for those whose token holds."""
        id = id_of(request, "track_id")
        found = await self._asker.shown(request, lambda reads, viewer: feed.REST.by_id(reads, viewer, id))
        return answer_json(self._shape(found))

    @described(
        "Changes a track of one's own",
        answer=shapes.Track,
        auth=Auth.ACTOR,
        form=_FORM,
        optional=frozenset(_FORM),
        errors={
            400: "features that nobody is, no tags, or no picture",
            403: "`you can only edit your own tracks`",
            404: "`track not found`",
            413: "`image too large (max …MB)`",
            500: "`failed to sync track update to ATProto: …`",
        },
    )
    async def change(self, request: web.Request) -> web.StreamResponse:
        """The track after it: `title`, `album`, `description`, `features`, `tags`, `image` of a form; what is
        not there stays, and an empty text clears what may be cleared."""
        own = await self.own(request, "edit")
        self.uploads.receiver.count(own.actor)
        most = self.uploads.receiver.limits.max_image_bytes
        with scratch.room(self.place.scratch) as room:
            plain = await Form.plain(request)
            texts, picture = (
                await self._read(Form.of(request, most + MIB), room) if plain is None else (plain, None)
            )
            features, tags = texts.get("features"), texts.get("tags")
            filed = None if tags is None else tags_of(tags.strip())
            edit = Edit(
                title=texts.get("title"),
                album=texts.get("album"),
                description=texts.get("description"),
                features=None if features is None else await features_of(self._reads, features),
            )
            cover = None if picture is None else await self._drawn(picture, room)
        await self._rewrite(own, edit, cover, filed)
        return answer_json(await self.shape(own.id, own.actor.did))

    @described(
        "Deletes a track of one's own",
        answer=shapes.Said,
        auth=Auth.ACTOR,
        errors={
            403: "`you can only delete your own tracks`",
            404: "`track not found`",
            500: "`failed to delete ATProto record: …`",
        },
    )
    async def delete(self, request: web.Request) -> web.StreamResponse:
        own = await self.own(request, "delete")
        try:
            await self._tracks(own).delete(own.rkey)
        except WriteFailed as error:
            raise unwritten(f"failed to delete ATProto record: {error}", error) from error
        return answer({"message": "track deleted successfully"})

    @described(
        "Gives a track of one's own another sound",
        answer=shapes.Queued,
        auth=Auth.ACTOR,
        form={"file": bytes},
        errors={
            400: "`no filename provided`",
            403: "`you can only edit your own tracks`",
            404: "`track not found`",
            413: "`file too large (max …MB)`",
        },
    )
    async def replace(self, request: web.Request) -> web.StreamResponse:
        """The id of the job that gives the track the sound in `file`; what it was stays as a revision."""
        own = await self.own(request, "edit")
        title = orjson.loads(await self.shape(own.id, None))["title"]
        most = self.uploads.receiver.limits.max_bytes
        form = Form.of(request, most + MIB)
        async with self.uploads.receiver.taking(own.actor) as intake:
            while (head := await form.next()) is not None:
                if head.name == "file" and head.filename:
                    try:
                        sound = await intake.sound(form.chunks(most))
                    except PayloadTooLarge:
                        raise too_large(self.uploads.receiver.limits) from None
                    id = await intake.replace(own.rkey, title, sound)
                    message = "audio queued for replacement"
                    return answer({"upload_id": str(id), "status": "pending", "message": message})
        raise Refused(400, "no filename provided")

    async def own(self, request: web.Request, what: str) -> OwnTrack:
        """The track in the path, if whoever asks may change it. Raises Refused."""
        id = id_of(request, "track_id")
        actor = await self.uploads.actor(request)
        async with self.place.pool.connection() as conn:
            found = await track_media.of_id(conn, id)
        if found is None:
            raise Refused(404, "track not found")
        did, rkey = found
        if did != actor.did:
            raise Refused(403, f"you can only {what} your own tracks")
        return OwnTrack(id, actor, rkey)

    def _tracks(self, own: OwnTrack) -> OwnTracks:
        return OwnTracks(self.place, own.actor.session, own.actor.did)

    async def shape(self, id: int, viewer: Did | None) -> bytes:
        """The track as JSON. Raises Refused."""
        return self._shape(await feed.REST.by_id(self._reads, viewer, id))

    def _shape(self, found: Found | None) -> bytes:
        if found is None:
            raise Refused(404, "track not found")
        return present.listed(found, self._sounds)

    async def _read(self, form: Form, room: Path) -> tuple[dict[str, str], Path | None]:
        """The texts of a form, and a file with its picture."""
        texts: dict[str, str] = {}
        picture = None
        while (head := await form.next()) is not None:
            if head.name in _TEXTS and head.filename is None:
                texts[head.name] = (await form.text()).strip()
            elif head.name == "image" and head.filename:
                picture = room / "picture"
                most = self.uploads.receiver.limits.max_image_bytes
                try:
                    await written(form.chunks(most), picture)
                except PayloadTooLarge:
                    raise Refused(413, f"image too large (max {most // MIB}MB)") from None
        return texts, picture

    async def _drawn(self, picture: Path, room: Path) -> Blob:
        try:
            return await self._pictures.drawn(picture, room)
        except MediaFailed as error:
            raise Refused(400, f"{error}. supported: jpg, png, webp, gif") from None

    async def _rewrite(self, own: OwnTrack, edit: Edit, cover: Blob | None, tags: list[str] | None) -> None:
        did, rkey, place = own.actor.did, own.rkey, self.place
        if cover is not None:
            edit = Edit(edit.title, edit.album, edit.description, edit.features, image_url(place, cover))
            # Before the record names it: should we die in between, it is kept.
            async with place.pool.connection() as conn, conn.transaction():
                await track_media.keep(conn, did, rkey, cover.id)

        async def effect(conn: Connection, put: Put, newest: Record) -> None:
            if tags is not None:
                await tracks.tag(conn, AtUri(put.uri), tags)
            if cover is None:
                return
            if newest.get("imageUrl") == edit.image_url:
                await track_media.recover(conn, did, rkey, cover.id)
            else:
                await track_media.let_go(conn, did, rkey, cover.id)

        try:
            await self._tracks(own).rewrite(
                rkey, lambda record: edited(place.catalog, rkey, record, edit), effect=effect
            )
        except (NoSuchTrack, InvalidRecord, WriteFailed) as error:
            # Where nobody tells whether it was written, the cover stays until the next change.
            if cover is not None and not isinstance(error, Away):
                async with place.pool.connection() as conn, conn.transaction():
                    await track_media.settle(conn, did, rkey)
            raise _not_changed(error) from error


def _not_changed(error: NoSuchTrack | InvalidRecord | WriteFailed) -> Refused:
    match error:
        case NoSuchTrack():
            return Refused(404, "track not found")
        case InvalidRecord():
            return Refused(422, str(error))
        case WriteFailed():
            return unwritten(f"failed to sync track update to ATProto: {error}", error)
