"""Albums of one's own: made, called otherwise, put in order, covered and deleted."""

from __future__ import annotations

import functools
import re

import msgspec
from aiohttp import web

from appview.auth.acting import Actor
from appview.list_record import ListFull
from appview.media.attempt import Place
from appview.own_albums import NameTaken, NotOnAlbum, NoTracks, OwnAlbums
from appview.own_records import NoSuchRecord
from appview.records import WriteFailed
from appview.rest import list_shapes
from appview.rest.actors import Actors, unwritten
from appview.rest.albums import Shown
from appview.rest.answers import Handler, Refused, answer, body_of, rest
from appview.rest.ids import id_of
from appview.rest.pictures import Pictures
from appview.rest.spec import Auth, described, query_of
from lexicons.records import InvalidRecord
from lexicons.syntax import Did
from storage import list_look
from storage.albums import AlbumRow

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MOST_DESCRIBED = 5000
_MOST_ID = 2**63 - 1
_ERRORS = {
    403: "it is somebody else's, or the grant does not cover lists and tracks",
    404: "`album not found`",
    500: "the PDS refuses",
    502: "the PDS is away",
}
_TAKEN = "another of your albums already uses that name"


class NewAlbum(msgspec.Struct):
    """The slug is made of the title."""

    title: str
    description: str | None = None


class AlbumChange(msgspec.Struct):
    """What is not there stays; an empty description clears it."""

    title: str | None = None
    description: str | None = None


class AlbumOrder(msgspec.Struct):
    track_ids: list[int]


class Cascade(msgspec.Struct):
    """`cascade`: its tracks of one's own are deleted, too."""

    cascade: bool = False


class AlbumDeleted(msgspec.Struct):
    deleted: bool
    cascade: bool


class TrackTakenOff(msgspec.Struct):
    removed: bool
    track_id: int


class AlbumEdits:
    def __init__(self, shown: Shown, actors: Actors, place: Place, pictures: Pictures) -> None:
        self._shown = shown
        self._actors = actors
        self._place = place
        self._pictures = pictures

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/albums/", _edits(self.create))
        router.add_patch("/albums/{album_id}", _edits(self.change))
        router.add_delete("/albums/{album_id}", _edits(self.delete))
        router.add_post("/albums/{album_id}/cover", _edits(self.cover))
        router.add_post("/albums/{album_id}/finalize", _edits(self.order))
        router.add_delete("/albums/{album_id}/tracks/{track_id}", _edits(self.take_off))

    @described(
        "Begins an album, with no tracks on it yet",
        answer=list_shapes.AlbumMetadata,
        auth=Auth.ACTOR,
        body=NewAlbum,
        errors={409: f"`{_TAKEN}`", 500: "the PDS refuses", 502: "the PDS is away"},
    )
    async def create(self, request: web.Request) -> web.StreamResponse:
        actor = await self._actor(request)
        asked = await body_of(request, NewAlbum)
        _check_description(asked.description)
        id = await self._own(actor).create(_title(asked.title))
        row = await self._shown.by_id(id)
        if row is None:  # its PDS did not say enough to show it before the firehose does
            raise Refused(502, "failed to create album")
        if asked.description:
            await self._describe(row, asked.description)
        return await self._metadata(id, actor.did)

    @described(
        "Gives an album of one's own another title, in its tracks, too; slug and id follow",
        answer=list_shapes.AlbumMetadata,
        auth=Auth.ACTOR,
        query=AlbumChange,
        errors={**_ERRORS, 409: f"`{_TAKEN}`"},
    )
    async def change(self, request: web.Request) -> web.StreamResponse:
        actor = await self._actor(request)
        row = await self._found(request, actor.did, "edit")
        asked = query_of(request, AlbumChange)
        title = row.title if asked.title is None else _title(asked.title)
        _check_description(asked.description)
        if asked.description is not None:
            await self._describe(row, asked.description)
        if title == row.title:
            return await self._metadata(request.match_info["album_id"], actor.did)
        rkey = await self._own(actor).rename(row, title)
        renamed = await self._shown.of_list(actor.did, rkey)
        if renamed is None:
            raise Refused(404, "album not found")
        return answer(self._shown.metadata(renamed))

    @described(
        "Deletes an album of one's own; its tracks stay, and name it no more",
        answer=AlbumDeleted,
        auth=Auth.ACTOR,
        query=Cascade,
        errors=_ERRORS,
    )
    async def delete(self, request: web.Request) -> web.StreamResponse:
        actor = await self._actor(request)
        row = await self._found(request, actor.did, "delete")
        cascade = query_of(request, Cascade).cascade
        await self._own(actor).delete(row, cascade=cascade)
        return answer({"deleted": True, "cascade": cascade})

    @described(
        "Gives an album of one's own a cover",
        answer=list_shapes.Cover,
        auth=Auth.SESSION,
        form={"image": bytes},
        errors={
            400: "`unsupported image type: …`",
            403: "`you can only upload cover art for your own albums`",
            404: "`album not found`",
            413: "`image too large (max …MB)`",
        },
    )
    async def cover(self, request: web.Request) -> web.StreamResponse:
        did = await self._actors.who(request)
        row = await self._found(request, did, "upload cover art for")
        blob = await self._pictures.cover(request)
        async with self._place.pool.connection() as conn, conn.transaction():
            await list_look.cover(conn, did, row.rkey or row.base, blob.id)
        return answer({"image_url": f"{self._shown.origin}/image/{blob.sha256}", "image_id": blob.sha256})

    @described(
        "Puts the tracks of an album of one's own in this order; those that are not named come behind",
        answer=list_shapes.AlbumMetadata,
        auth=Auth.ACTOR,
        body=AlbumOrder,
        errors={
            **_ERRORS,
            400: "`track_ids must not be empty`, `track(s) not found: […]`, "
            "`track(s) do not belong to this album: […]`, or there are more than a list may have",
        },
    )
    async def order(self, request: web.Request) -> web.StreamResponse:
        actor = await self._actor(request)
        row = await self._found(request, actor.did, "edit")
        ids = (await body_of(request, AlbumOrder)).track_ids
        if not ids:
            raise Refused(400, "track_ids must not be empty")
        if strange := [id for id in ids if not 0 < id <= _MOST_ID]:
            raise NoTracks(strange)
        await self._own(actor).order(row, ids)
        return await self._metadata(request.match_info["album_id"], actor.did)

    @described(
        "Takes a track off an album of one's own; it names the album no more",
        answer=TrackTakenOff,
        auth=Auth.ACTOR,
        errors={**_ERRORS, 400: "`track(s) do not belong to this album: […]`"},
    )
    async def take_off(self, request: web.Request) -> web.StreamResponse:
        track_id = id_of(request, "track_id")
        actor = await self._actor(request)
        row = await self._found(request, actor.did, "edit")
        await self._own(actor).take_off(row, track_id)
        return answer({"removed": True, "track_id": track_id})

    async def _actor(self, request: web.Request) -> Actor:
        collections = self._place.catalog.collections
        return await self._actors.of(request, collections.list, collections.track)

    def _own(self, actor: Actor) -> OwnAlbums:
        return OwnAlbums(self._place, self._shown.reads, actor.session, actor.did)

    async def _found(self, request: web.Request, did: Did, what: str) -> AlbumRow:
        id = request.match_info["album_id"]
        row = await self._shown.by_id(id, of=did) if _UUID.fullmatch(id) else None
        if row is None:
            raise Refused(404, "album not found")
        if row.did != did:
            raise Refused(403, f"you can only {what} your own albums")
        return row

    async def _describe(self, row: AlbumRow, text: str) -> None:
        async with self._place.pool.connection() as conn:
            did, name = Did(row.did), row.rkey or row.base
            await list_look.describe(conn, did, name, text.replace("\0", "").strip() or None)

    async def _metadata(self, id: str, did: Did) -> web.Response:
        row = await self._shown.by_id(id, of=did)
        if row is None:
            raise Refused(404, "album not found")
        return answer(self._shown.metadata(row))


def _title(text: str) -> str:
    if not text.strip():
        raise Refused(422, "a title has at least one character")
    return text.strip()


def _check_description(text: str | None) -> None:
    if text is not None and len(text.encode()) > MOST_DESCRIBED:
        raise Refused(422, f"a description has at most {MOST_DESCRIBED} bytes")


def _edits(handler: Handler) -> Handler:
    """The handler with every way in which a change of an album ends told as REST tells it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except NameTaken:
            raise Refused(409, _TAKEN) from None
        except NotOnAlbum as error:
            raise Refused(400, f"track(s) do not belong to this album: {error.ids}") from None
        except NoTracks as error:
            raise Refused(400, f"track(s) not found: {error.ids}") from None
        except ListFull:
            raise Refused(400, "an album has at most 500 tracks") from None
        except NoSuchRecord:
            raise Refused(404, "album not found") from None
        except InvalidRecord as error:
            raise Refused(422, str(error)) from None
        except WriteFailed as error:
            raise unwritten("failed to sync album to ATProto", error) from error

    return rest(functools.wraps(handler)(handle))
