"""`/albums/`: everybody's albums, an artist's, and one with its tracks.

An album is a list record that calls itself one, in the order that its artist gave it, or, where there is no
such list, what tracks name as their album. Tracks that name it and are not in the list come behind, by age.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import orjson
from aiohttp import hdrs, web

from appview import album_ids, cursors
from appview.errors import InvalidRequest
from appview.rest import list_shapes, present
from appview.rest.answers import Refused, answer, answer_json, rest, slashed
from appview.rest.asker import Asker
from appview.rest.spec import Auth, described, query_of
from appview.sound_origins import SoundOrigins
from lexicons.catalog import Collections
from lexicons.syntax import Did, Rkey
from storage import albums, keyset, lists, people
from storage.albums import AlbumRow
from storage.feed import Tracks
from storage.people import Actor
from storage.reader import Reads

DEFAULT = albums.MOST
_T = TypeVar("_T")
Found = tuple[AlbumRow, _T]


class Paging(msgspec.Struct):
    """`limit`: at most 100."""

    limit: int | None = None
    cursor: str | None = None


class Shown:
    """Albums as JSON. `origin`: where our own pictures are; `sounds`: where others' sound may be."""

    def __init__(self, reads: Reads, origin: str, collections: Collections, sounds: SoundOrigins) -> None:
        self.reads = reads
        self.sounds = sounds
        self.origin = origin
        self._collections = collections
        self._artists: dict[str, Actor] = {}  # by handle or DID

    def of_artist(self, row: AlbumRow) -> dict[str, Any]:
        return {
            "id": album_ids.id_of(row),
            "title": row.title,
            "slug": album_ids.slug_of(row),
            "track_count": row.tracks,
            "total_plays": row.plays,
            "image_url": self.image(row),
        }

    def listed(self, row: AlbumRow) -> dict[str, Any]:
        artist = present.artist(row.author)
        return self.of_artist(row) | {"artist": artist.name, "artist_handle": artist.handle}

    def metadata(self, row: AlbumRow) -> dict[str, Any]:
        uri = None if row.rkey is None else f"at://{row.did}/{self._collections.list}/{row.rkey}"
        more = {"description": row.description, "artist_did": row.did, "list_uri": uri}
        return self.listed(row) | more

    def image(self, row: AlbumRow) -> str | None:
        """Its own cover, else its first track's picture, else its artist's."""
        if row.cover is not None:
            return f"{self.origin}/image/{row.cover}"
        return row.image or orjson.loads(present.artist(row.author).avatar)

    async def find(self, handle: str, slug: str) -> AlbumRow | None:
        """One by its address; `handle` may be a DID."""

        async def ask(actor: Actor) -> Found[None] | None:
            row = await albums.get(self.reads, actor.repo_id, *album_ids.parse(actor.did, slug))
            return None if row is None else (row, None)

        found = await self._at(handle, ask)
        return None if found is None else found[0]

    async def whole(self, reads: Reads, viewer: str | None, handle: str, slug: str) -> Found[Tracks] | None:
        """Likewise, with its tracks. It asks `reads`."""

        async def ask(actor: Actor) -> Found[Tracks] | None:
            base, rank = album_ids.parse(actor.did, slug)
            return await albums.whole(reads, viewer, actor.repo_id, base, rank)

        return await self._at(handle, ask)

    async def _at(self, handle: str, ask: Callable[[Actor], Awaitable[Found[_T] | None]]) -> Found[_T] | None:
        """What `ask` finds of whoever has this handle. Whose it was the last time is asked first, and what
        comes back says whether it still is."""
        name = people.normal(handle)
        known = self._artists.get(name)
        if known is not None:
            found = await ask(known)
            if found is not None and name in (found[0].did, present.artist(found[0].author).handle):
                return found
        actor = await people.actor(self.reads, name)
        if actor is None:
            return None
        if len(self._artists) >= present.KNOWN_ARTISTS:
            self._artists.clear()
        self._artists[name] = actor
        return await ask(actor)

    async def by_id(self, id: str, *, of: Did | None = None) -> AlbumRow | None:
        """One by its id. Of those that share their name with an older list, only the albums of `of`."""
        owner = await albums.owner(self.reads, id)
        if owner is not None:
            return await albums.get(self.reads, owner[0], id)
        actor = None if of is None else await people.actor(self.reads, of)
        if actor is None:
            return None
        own = await albums.of_artist(self.reads, actor.repo_id)
        return next((row for row in own if row.rank > 1 and album_ids.id_of(row) == id), None)

    async def of_list(self, did: Did, rkey: Rkey) -> AlbumRow | None:
        """The album that a list record is."""
        found = await lists.get(self.reads, did, rkey)
        return None if found is None else await albums.of_list(self.reads, found.id)


class Albums:
    def __init__(self, shown: Shown, asker: Asker) -> None:
        self._shown = shown
        self._reads = shown.reads
        self._sounds = shown.sounds
        self._asker = asker

    def add_to(self, router: web.UrlDispatcher) -> None:
        # The one that is asked most comes first: those before it would each be tried.
        router.add_get("/albums/{handle}/{slug}", rest(self.show))
        router.add_get("/albums/{handle}", rest(self.of_artist))
        slashed(router, "/albums/")
        router.add_get("/albums/", rest(self.all))

    @described(
        "Everybody's albums, by title",
        answer=list_shapes.Albums,
        query=Paging,
        errors={400: "`invalid cursor format`"},
    )
    async def all(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, Paging)
        limit = albums.MOST if asked.limit is None else asked.limit
        if not 1 <= limit <= albums.MOST:
            raise Refused(422, f"limit is a number from 1 to {albums.MOST}")
        try:
            after = cursors.decode(asked.cursor, keyset.ALBUM)
        except InvalidRequest:
            raise Refused(400, "invalid cursor format") from None
        page = await albums.page(self._reads, after, limit)
        told: dict[str, object] = {"albums": [self._shown.listed(row) for row in page.rows]}
        cursor = None if page.next is None else cursors.encode(page.next).decode()
        # Clients of the time before there were pages take every member for albums.
        if asked.limit is not None or asked.cursor is not None:
            told |= {"next_cursor": cursor, "has_more": cursor is not None}
        response = answer(told)
        if cursor is not None:
            response.headers[hdrs.LINK] = f'</albums/?limit={limit}&cursor={cursor}>; rel="next"'
        return response

    @described(
        "An artist's albums, by title", answer=list_shapes.AlbumsOfArtist, errors={404: "`artist not found`"}
    )
    async def of_artist(self, request: web.Request) -> web.StreamResponse:
        actor = await people.actor(self._reads, request.match_info["handle"])
        if actor is None:
            raise Refused(404, "artist not found")
        found = await albums.of_artist(self._reads, actor.repo_id)
        return answer({"albums": [self._shown.of_artist(row) for row in found]})

    @described(
        "An album with its tracks, in its order",
        answer=list_shapes.Album,
        auth=Auth.OPTIONAL,
        errors={404: "`album not found`"},
    )
    async def show(self, request: web.Request) -> web.StreamResponse:
        handle, slug = request.match_info["handle"], request.match_info["slug"]
        found = await self._asker.shown(
            request, lambda reads, viewer: self._shown.whole(reads, viewer, handle, slug)
        )
        if found is None:
            raise Refused(404, "album not found")
        tracks = present.listed(found[1], self._sounds)
        metadata = orjson.dumps(self._shown.metadata(found[0]))
        return answer_json(*present.page(tracks, b'"metadata":' + metadata))
