"""`/lists/`: playlists with their tracks, one's own and others', and what a list at an address is."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
from aiohttp import web

from appview import album_ids, views
from appview.rest import list_shapes, present
from appview.rest.actors import Actors
from appview.rest.albums import Shown
from appview.rest.answers import Refused, answer, answer_json, rest
from appview.rest.asker import Asker
from appview.rest.ids import number
from appview.rest.spec import Auth, described, query_of
from lexicons.catalog import Collections
from lexicons.syntax import Did, InvalidSyntax, Rkey, parse_at_uri
from storage import people, playlists
from storage.playlists import PlaylistRow
from storage.reader import Reads

_NONE = {404: "`playlist not found`"}


class Address(msgspec.Struct):
    """`uri`: an AT-URI."""

    uri: str


class Amount(msgspec.Struct):
    limit: int = 3


class Suggestion(msgspec.Struct):
    id: int
    title: str
    artist_handle: str
    artist_display_name: str
    image_url: str | None


class Suggestions(msgspec.Struct):
    """`available`: whether there is anybody here who suggests tracks."""

    tracks: list[Suggestion]
    available: bool


class ListAt(msgspec.Struct):
    """`type`: `album` or `playlist`. `slug`: of an album."""

    type: str
    id: str
    handle: str | None = None
    slug: str | None = None


class ShownLists:
    """Playlists as JSON, and lists by their address. `albums` says how albums are shown."""

    def __init__(self, reads: Reads, albums: Shown, collections: Collections) -> None:
        self.reads = reads
        self.albums = albums
        self._collections = collections

    def playlist(self, row: PlaylistRow) -> dict[str, Any]:
        image = None if row.cover is None else f"{self.albums.origin}/image/{row.cover}"
        return {
            "id": str(row.id),
            "name": row.name,
            "owner_did": row.did,
            "owner_handle": present.artist(row.author).handle,
            "track_count": row.tracks,
            "image_url": image,
            "show_on_profile": row.on_profile,
            "is_private": False,
            "atproto_record_uri": f"at://{row.did}/{self._collections.list}/{row.rkey}",
            "created_at": views.iso(row.created_at).decode(),
            "preview_thumbnails": [] if image else list(row.previews),
        }

    async def named(self, request: web.Request) -> PlaylistRow:
        """The playlist of the path. Raises Refused 404."""
        id = number(request.match_info["playlist_id"])
        row = None if id is None else await playlists.get(self.reads, id)
        if row is None:
            raise Refused(404, "playlist not found")
        return row

    async def address(self, request: web.Request) -> tuple[str, str] | None:
        """DID and key of the list that the query names. Raises Refused 422."""
        try:
            uri = parse_at_uri(query_of(request, Address).uri)
        except InvalidSyntax:
            raise Refused(422, "uri is an AT-URI") from None
        if uri.collection != self._collections.list or uri.rkey is None:
            return None
        actor = await people.actor(self.reads, uri.authority)
        return None if actor is None else (actor.did, uri.rkey)


class Playlists:
    def __init__(self, shown: ShownLists, actors: Actors, asker: Asker) -> None:
        self._shown = shown
        self._reads = shown.reads
        self._sounds = shown.albums.sounds
        self._actors = actors
        self._asker = asker

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/lists/by-uri", rest(self.list_at))
        router.add_get("/lists/playlists", rest(self.mine))
        router.add_get("/lists/playlists/by-uri", rest(self.at))
        router.add_get("/lists/playlists/by-artist/{artist_did}", rest(self.of_artist))
        router.add_get("/lists/playlists/{playlist_id}", rest(self.show))
        router.add_get("/lists/playlists/{playlist_id}/meta", rest(self.meta))
        router.add_get("/lists/playlists/{playlist_id}/recommendations", rest(self.suggest))

    @described("One's own playlists, newest first", answer=list[list_shapes.Playlist], auth=Auth.SESSION)
    async def mine(self, request: web.Request) -> web.StreamResponse:
        async def own(reads: Reads, did: Did) -> list[PlaylistRow]:
            actor = await people.actor(reads, did)
            return [] if actor is None else await playlists.of_owner(reads, actor.repo_id)

        return answer([self._shown.playlist(row) for row in await self._asker.own(request, own)])

    @described("The playlists that somebody shows with their profile", answer=list[list_shapes.Playlist])
    async def of_artist(self, request: web.Request) -> web.StreamResponse:
        """Of who is unknown there are none."""
        actor = await people.actor(self._reads, request.match_info["artist_did"])
        if actor is None:
            return answer([])
        found = await playlists.of_owner(self._reads, actor.repo_id, on_profile=True)
        return answer([self._shown.playlist(row) for row in found])

    @described(
        "A playlist with its tracks, in its order",
        answer=list_shapes.PlaylistWithTracks,
        auth=Auth.OPTIONAL,
        errors=_NONE,
    )
    async def show(self, request: web.Request) -> web.StreamResponse:
        return await self._whole(request, await self._shown.named(request))

    @described(
        "The playlist at an AT-URI, with its tracks",
        answer=list_shapes.PlaylistWithTracks,
        auth=Auth.OPTIONAL,
        query=Address,
        errors=_NONE,
    )
    async def at(self, request: web.Request) -> web.StreamResponse:
        found = await self._shown.address(request)
        row = None if found is None else await playlists.at(self._reads, *found)
        if row is None:
            raise Refused(404, "playlist not found")
        return await self._whole(request, row)

    @described("A playlist without its tracks", answer=list_shapes.Playlist, errors=_NONE)
    async def meta(self, request: web.Request) -> web.StreamResponse:
        return answer(self._shown.playlist(await self._shown.named(request)))

    @described(
        "Tracks that would go with a playlist: nobody suggests any here",
        answer=Suggestions,
        auth=Auth.SESSION,
        query=Amount,
        errors=_NONE,
    )
    async def suggest(self, request: web.Request) -> web.StreamResponse:
        await self._actors.who(request)
        if not 1 <= query_of(request, Amount).limit <= 10:
            raise Refused(422, "limit is a number from 1 to 10")
        await self._shown.named(request)
        return answer({"tracks": [], "available": False})

    @described(
        "What the list at an AT-URI is", answer=ListAt, query=Address, errors={404: "`list not found`"}
    )
    async def list_at(self, request: web.Request) -> web.StreamResponse:
        found = await self._shown.address(request)
        if found is not None:
            did, rkey = found
            album = await self._shown.albums.of_list(Did(did), Rkey(rkey))
            if album is not None:
                handle = present.artist(album.author).handle
                id, slug = album_ids.id_of(album), album_ids.slug_of(album)
                return answer({"type": "album", "id": id, "handle": handle, "slug": slug})
            row = await playlists.at(self._reads, did, rkey)
            if row is not None:
                handle = present.artist(row.author).handle
                return answer({"type": "playlist", "id": str(row.id), "handle": handle, "slug": None})
        raise Refused(404, "list not found")

    async def _whole(self, request: web.Request, row: PlaylistRow) -> web.Response:
        found = await self._asker.shown(
            request, lambda reads, viewer: playlists.tracks(reads, viewer, row.id)
        )
        tracks = present.listed(found, self._sounds)
        return answer_json(*present.page(tracks, orjson.dumps(self._shown.playlist(row))[1:-1]))
