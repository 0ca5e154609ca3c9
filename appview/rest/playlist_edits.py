"""Playlists of one's own: made, filled, put in order, called otherwise, covered and deleted."""

from __future__ import annotations

import functools

import msgspec
from aiohttp import web

from appview.list_record import (
    AlreadyThere,
    ListFull,
    NotThere,
    item,
    new_list,
    renamed,
    reordered,
    with_item,
    without,
)
from appview.media.attempt import Place
from appview.own_records import Change, NoSuchRecord, OwnRecords
from appview.records import WriteFailed, fresh_rkey, now_text
from appview.rest import list_shapes
from appview.rest.actors import Actors, unwritten
from appview.rest.answers import Handler, Refused, answer, body_of, rest
from appview.rest.form import Form
from appview.rest.pictures import Pictures
from appview.rest.playlists import ShownLists
from appview.rest.spec import Auth, described
from lexicons.records import InvalidRecord
from lexicons.syntax import Did, Rkey, is_rkey
from storage import feed, list_look, playlists
from storage.playlists import PlaylistRow

KIND = "playlist"  # how such a list calls itself
MAX_ORDER = 1 << 20  # as many items as a list may have, with the longest of addresses
_TRUE, _FALSE = {"true", "1", "on", "yes"}, {"false", "0", "off", "no"}
_ERRORS = {
    403: "it is somebody else's, or the grant does not cover lists",
    404: "`playlist not found`",
    500: "the PDS refuses",
    502: "the PDS is away",
}
_PRIVATE = "a playlist is a public record: there are no private ones here"


class NewPlaylist(msgspec.Struct):
    name: str
    is_private: bool = False


class Reference(msgspec.Struct):
    uri: str
    cid: str | None = None


class Order(msgspec.Struct):
    """A list's items in their new order. What is not named comes behind, what is not there stays away."""

    items: list[Reference]


class AddedTrack(msgspec.Struct):
    track_uri: str
    track_cid: str


class PlaylistDeleted(msgspec.Struct):
    deleted: bool


class Written(msgspec.Struct):
    uri: str
    cid: str


class PlaylistEdits:
    def __init__(self, shown: ShownLists, actors: Actors, place: Place, pictures: Pictures) -> None:
        self._shown = shown
        self._actors = actors
        self._place = place
        self._catalog = place.catalog
        self._pictures = pictures

    def add_to(self, router: web.UrlDispatcher) -> None:
        one = "/lists/playlists/{playlist_id}"
        router.add_post("/lists/playlists", _edits(self.create))
        router.add_patch(one, _edits(self.change))
        router.add_delete(one, _edits(self.delete))
        router.add_post(one + "/tracks", _edits(self.add))
        router.add_delete(one + "/tracks/{track_uri:.+}", _edits(self.take_out))
        router.add_put(one + "/reorder", _edits(self.order))
        router.add_post(one + "/cover", _edits(self.cover))
        router.add_delete(one + "/cover", _edits(self.uncover))
        router.add_put("/lists/{rkey}/reorder", _edits(self.order_list))

    @described(
        "Begins a playlist",
        answer=list_shapes.Playlist,
        auth=Auth.ACTOR,
        body=NewPlaylist,
        errors={400: _PRIVATE, 500: "the PDS refuses", 502: "the PDS is away"},
    )
    async def create(self, request: web.Request) -> web.StreamResponse:
        lists, did = await self._own(request)
        asked = await body_of(request, NewPlaylist)
        if asked.is_private:
            raise Refused(400, _PRIVATE)
        rkey = fresh_rkey()
        record = new_list(self._catalog, rkey, KIND, _name(asked.name), [], now_text())
        await lists.write(rkey, record)
        row = await playlists.at(self._shown.reads, did, rkey)
        if row is None:  # its PDS did not say enough to show it before the firehose does
            raise Refused(502, "failed to sync playlist to ATProto")
        return answer(self._shown.playlist(row))

    @described(
        "Changes what a playlist of one's own is called, and whether it is shown with one's profile",
        answer=list_shapes.Playlist,
        auth=Auth.ACTOR,
        form={"name": str, "show_on_profile": bool, "is_private": bool},
        optional=frozenset({"name", "show_on_profile", "is_private"}),
        errors={**_ERRORS, 400: f"{_PRIVATE}; or it is no form", 413: "the form is too large"},
    )
    async def change(self, request: web.Request) -> web.StreamResponse:
        """A form of either kind."""
        lists, did = await self._own(request)
        row = await self._named(request, did)
        texts = await Form.texts(request)
        if _flag(texts, "is_private"):
            raise Refused(400, _PRIVATE)
        on_profile = _flag(texts, "show_on_profile")
        if "name" in texts:
            name = _name(texts["name"])
            await lists.rewrite(
                row.rkey, lambda record: renamed(self._catalog, row.rkey, record, name, now_text())
            )
        if on_profile is not None:
            async with self._place.pool.connection() as conn:
                await list_look.show(conn, did, row.rkey, on_profile)
        return await self._changed(did, row.rkey)

    @described("Deletes a playlist of one's own", answer=PlaylistDeleted, auth=Auth.ACTOR, errors=_ERRORS)
    async def delete(self, request: web.Request) -> web.StreamResponse:
        lists, did = await self._own(request)
        row = await self._named(request, did)
        await lists.remove(row.rkey, effect=lambda conn: list_look.remove(conn, did, row.rkey))
        return answer({"deleted": True})

    @described(
        "Puts a track at the end of a playlist of one's own",
        answer=list_shapes.Playlist,
        auth=Auth.ACTOR,
        body=AddedTrack,
        errors={**_ERRORS, 400: "`track already in playlist`, or it has as many as it may"},
    )
    async def add(self, request: web.Request) -> web.StreamResponse:
        lists, did = await self._own(request)
        row = await self._named(request, did)
        asked = await body_of(request, AddedTrack)
        if "\0" in asked.track_uri or await feed.track_id(self._shown.reads, asked.track_uri) is None:
            raise Refused(404, "track not found")
        added = item(asked.track_uri, asked.track_cid)
        await lists.rewrite(
            row.rkey, lambda record: with_item(self._catalog, row.rkey, record, added, now_text())
        )
        return await self._changed(did, row.rkey)

    @described(
        "Takes a track out of a playlist of one's own; `track_uri` is its AT-URI",
        answer=list_shapes.Playlist,
        auth=Auth.ACTOR,
        errors={**_ERRORS, 404: "`playlist not found`, `track not found in playlist`"},
    )
    async def take_out(self, request: web.Request) -> web.StreamResponse:
        lists, did = await self._own(request)
        row, uri = await self._named(request, did), request.match_info["track_uri"]
        await lists.rewrite(
            row.rkey, lambda record: without(self._catalog, row.rkey, record, uri, now_text())
        )
        return await self._changed(did, row.rkey)

    @described(
        "Puts a playlist of one's own in another order",
        answer=list_shapes.Playlist,
        auth=Auth.ACTOR,
        body=Order,
        errors=_ERRORS,
    )
    async def order(self, request: web.Request) -> web.StreamResponse:
        lists, did = await self._own(request)
        row = await self._named(request, did)
        await lists.rewrite(
            row.rkey, self._reorder(row.rkey, await body_of(request, Order, max_bytes=MAX_ORDER))
        )
        return await self._changed(did, row.rkey)

    @described(
        "Puts a list of one's own, of whatever kind, in another order; `rkey` is its record's key",
        answer=Written,
        auth=Auth.ACTOR,
        body=Order,
        errors={**_ERRORS, 404: "`list not found`"},
    )
    async def order_list(self, request: web.Request) -> web.StreamResponse:
        lists, _ = await self._own(request)
        asked, text = await body_of(request, Order, max_bytes=MAX_ORDER), request.match_info["rkey"]
        if not is_rkey(text):
            raise Refused(404, "list not found")
        try:
            put = await lists.rewrite(Rkey(text), self._reorder(Rkey(text), asked))
        except NoSuchRecord:
            raise Refused(404, "list not found") from None
        return answer({"uri": put.uri, "cid": put.cid})

    @described(
        "Gives a playlist of one's own a cover",
        answer=list_shapes.Cover,
        auth=Auth.SESSION,
        form={"image": bytes},
        errors={
            400: "`unsupported image type: …`",
            403: "it is somebody else's",
            404: "`playlist not found`",
            413: "`image too large (max …MB)`",
        },
    )
    async def cover(self, request: web.Request) -> web.StreamResponse:
        did = await self._actors.who(request)
        row = await self._named(request, did)
        blob = await self._pictures.cover(request)
        async with self._place.pool.connection() as conn, conn.transaction():
            await list_look.cover(conn, did, row.rkey, blob.id)
        url = f"{self._shown.albums.origin}/image/{blob.sha256}"
        return answer({"image_url": url, "image_id": blob.sha256})

    @described(
        "Takes the cover of a playlist of one's own away",
        answer=list_shapes.Playlist,
        auth=Auth.SESSION,
        errors={403: "it is somebody else's", 404: "`playlist not found`"},
    )
    async def uncover(self, request: web.Request) -> web.StreamResponse:
        did = await self._actors.who(request)
        row = await self._named(request, did)
        async with self._place.pool.connection() as conn, conn.transaction():
            await list_look.cover(conn, did, row.rkey, None)
        return await self._changed(did, row.rkey)

    async def _own(self, request: web.Request) -> tuple[OwnRecords, Did]:
        collection = self._catalog.collections.list
        actor = await self._actors.of(request, collection)
        return OwnRecords(self._place, actor.session, actor.did, collection), actor.did

    async def _named(self, request: web.Request, did: Did) -> PlaylistRow:
        row = await self._shown.named(request)
        if row.did != did:
            raise Refused(403, "you can only change your own playlists")
        return row

    def _reorder(self, rkey: Rkey, asked: Order) -> Change:
        uris = [each.uri for each in asked.items]
        return lambda record: reordered(self._catalog, rkey, record, uris, now_text())

    async def _changed(self, did: Did, rkey: Rkey) -> web.Response:
        row = await playlists.at(self._shown.reads, did, rkey)
        if row is None:  # it was there: it was deleted meanwhile, or taken down
            raise Refused(404, "playlist not found")
        return answer(self._shown.playlist(row))


def _name(text: str) -> str:
    if not text.strip():
        raise Refused(422, "a name has at least one character")
    return text.strip()


def _flag(texts: dict[str, str], name: str) -> bool | None:
    text = texts.get(name, "").strip().lower()
    if text and text not in _TRUE | _FALSE:
        raise Refused(422, f"{name} is true or false")
    return text in _TRUE if text else None


def _edits(handler: Handler) -> Handler:
    """The handler with every way in which a change of a playlist ends told as REST tells it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except AlreadyThere:
            raise Refused(400, "track already in playlist") from None
        except NotThere:
            raise Refused(404, "track not found in playlist") from None
        except ListFull:
            raise Refused(400, "a playlist has at most 500 tracks") from None
        except NoSuchRecord:
            raise Refused(404, "playlist not found") from None
        except InvalidRecord as error:
            raise Refused(422, str(error)) from None
        except WriteFailed as error:
            raise unwritten("failed to sync playlist to ATProto", error) from error

    return rest(functools.wraps(handler)(handle))
