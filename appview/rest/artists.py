"""`/artists/`: how people present themselves. Whoever has an account that we track is an artist; their own
word about themselves is a record on their PDS, written with `POST /artists/` and `PUT /artists/me`.

The record is read whole, changed, and written in place of what was read: what others wrote into it stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
import orjson
from aiohttp import web
from msgspec import Meta

from appview.auth.acting import Actor
from appview.auth.desk import Desk
from appview.media.attempt import Place
from appview.own_records import NoSuchRecord, OwnRecords
from appview.records import Record, Swapped, WriteFailed
from appview.rest import shapes
from appview.rest.actors import Actors, unwritten
from appview.rest.answers import Refused, answer, body_of, problem, rest, slashed
from appview.rest.preferences import PreferencesUpdate, SupportUrl, choices
from appview.rest.spec import Auth, described
from appview.views import iso
from indexer.cards import iso as iso_of
from indexer.cards import rev_time
from indexer.profiles import AVATAR_URL, DISPLAY_NAME
from lexicons.records import InvalidRecord, accepted
from lexicons.syntax import Did, Rkey
from storage import artists, preferences
from storage.artists import ArtistRow
from storage.reader import Reads

SELF = Rkey("self")
MOST_AT_ONCE = 100
_NOT_YET = "artist profile not found - please create one first"
# How avatars are often written: the blob itself. Its picture in a browser's size is elsewhere.
_BLOB = re.compile(r"https?://[^/]+/xrpc/com\.atproto\.sync\.getBlob\?did=([^&]+)&cid=([^&]+)")

Name = Annotated[str, Meta(min_length=1, max_length=640)]
Bio = Annotated[str, Meta(max_length=2560)]
Picture = Annotated[str, Meta(pattern=r"^(?:https?://[^\s\"<>\\]+|)$", max_length=2048)]


class CreateArtist(msgspec.Struct):
    display_name: Name
    bio: Bio | None = None
    avatar_url: Picture | None = None


class UpdateArtist(msgspec.Struct):
    display_name: Annotated[str, Meta(max_length=640)] | None = None
    bio: Bio | None = None
    avatar_url: Picture | None = None
    # These two are preferences, and no part of the record.
    support_url: SupportUrl | None = None
    show_liked_on_profile: bool | None = None


class Artists:
    def __init__(self, desk: Desk, place: Place, reads: Reads) -> None:
        self._desk = desk
        self._place = place
        self._reads = reads
        self._actors = Actors(desk, place)
        self._collection = place.catalog.collections.profile

    def add_to(self, router: web.UrlDispatcher) -> None:
        slashed(router, "/artists/")
        router.add_post("/artists/", rest(self.create))
        router.add_get("/artists/me", rest(self.mine))
        router.add_put("/artists/me", rest(self.change))
        router.add_post("/artists/batch", rest(self.several))
        router.add_get("/artists/by-handle/{handle}", rest(self.by_handle))
        router.add_get("/artists/{did}", rest(self.by_did))
        router.add_post("/artists/{did}/refresh-avatar", rest(self.avatar))

    @described(
        "Write a profile for whoever asks",
        body=CreateArtist,
        answer=shapes.Artist,
        auth=Auth.ACTOR,
        errors={400: "artist profile already exists", 422: "what the lexicon refuses"},
    )
    async def create(self, request: web.Request) -> web.StreamResponse:
        actor = await self._actors.of(request, self._collection)
        wish = await body_of(request, CreateArtist)

        def change(record: Record) -> Record:
            if record.get("createdAt"):
                raise Refused(400, "artist profile already exists")
            return edited(record, wish.display_name, wish.bio, wish.avatar_url)

        await self._write(actor, change)
        return await self._shown(actor.did, _NOT_YET)

    @described("The profile of whoever asks", answer=shapes.Artist, auth=Auth.SESSION, errors={404: _NOT_YET})
    async def mine(self, request: web.Request) -> web.StreamResponse:
        session = (await self._desk.asking(request)).session
        return await self._shown(session.did, _NOT_YET)

    @described(
        "Change it; what is absent or null stays, an empty text clears",
        body=UpdateArtist,
        answer=shapes.Artist,
        auth=Auth.ACTOR,
        errors={404: _NOT_YET, 422: "what the lexicon refuses"},
    )
    async def change(self, request: web.Request) -> web.StreamResponse:
        session = (await self._desk.asking(request)).session
        wish = await body_of(request, UpdateArtist)
        await self._row(session.did, _NOT_YET)
        if (wish.display_name, wish.bio, wish.avatar_url) != (None, None, None):
            actor = await self._actors.of(request, self._collection)
            await self._write(
                actor, lambda record: edited(record, wish.display_name, wish.bio, wish.avatar_url)
            )
        chosen, _ = choices(
            PreferencesUpdate(support_url=wish.support_url, show_liked_on_profile=wish.show_liked_on_profile)
        )
        if chosen:
            async with self._place.pool.connection() as conn:
                await preferences.put(conn, Did(session.did), chosen, {})
        return await self._shown(session.did, _NOT_YET)

    @described(
        "Artists by DID; those that cannot be shown are absent",
        body=list[str],
        answer=dict[str, shapes.Artist],
        errors={400: f"at most {MOST_AT_ONCE} DIDs"},
    )
    async def several(self, request: web.Request) -> web.StreamResponse:
        dids = await body_of(request, list[str])
        if len(dids) > MOST_AT_ONCE:
            raise Refused(400, f"at most {MOST_AT_ONCE} DIDs")
        asked = [did for did in dids if _is_name(did)]
        return answer(
            {row.did: artist(row) for row in await artists.of(self._reads, asked, self._collection)}
        )

    @described("An artist by their handle", answer=shapes.Artist, errors={404: "artist not found"})
    async def by_handle(self, request: web.Request) -> web.StreamResponse:
        return await self._shown(request.match_info["handle"].removeprefix("@"), "artist not found")

    @described("An artist by their DID", answer=shapes.Artist, errors={404: "artist not found"})
    async def by_did(self, request: web.Request) -> web.StreamResponse:
        return await self._shown(request.match_info["did"], "artist not found")

    @described(
        "An artist's picture as it is now; the index follows their profiles by itself",
        answer=shapes.Avatar,
        errors={404: "artist not found"},
    )
    async def avatar(self, request: web.Request) -> web.StreamResponse:
        row = await self._row(request.match_info["did"], "artist not found")
        return answer({"avatar_url": artist(row)["avatar_url"]})

    async def _row(self, name: str, missing: str) -> ArtistRow:
        rows = await artists.of(self._reads, [name], self._collection) if _is_name(name) else []
        if not rows:
            raise Refused(404, missing)
        return rows[0]

    async def _shown(self, name: str, missing: str) -> web.Response:
        return answer(artist(await self._row(name, missing)))

    async def _write(self, actor: Actor, change: Callable[[Record], Record]) -> None:
        """Change the artist's record, which is made where there was none. Raises Refused."""
        own, catalog = (
            OwnRecords(self._place, actor.session, actor.did, self._collection),
            self._place.catalog,
        )
        now = iso_of(datetime.now(UTC))

        def changed(record: Record) -> Record:
            after = change(record)
            return (
                record
                if after == record
                else accepted(catalog, self._collection, SELF, after | {"updatedAt": now})
            )

        try:
            try:
                await own.rewrite(SELF, changed)
            except NoSuchRecord:
                first = {"$type": self._collection, "createdAt": now}
                made = accepted(catalog, self._collection, SELF, first | change({}))
                try:
                    await own.write(SELF, made, fresh=True)
                except Swapped:  # somebody else made one meanwhile
                    await own.rewrite(SELF, changed)
        except WriteFailed as error:
            raise unwritten(f"failed to sync profile to ATProto: {error}", error) from error
        except InvalidRecord as error:
            raise Refused(422, [problem(str(error), "body")]) from None


def edited(record: Record, name: str | None, bio: str | None, avatar: str | None) -> Record:
    """The record with what was wished for: None leaves as it is, an empty text removes."""
    wished = {DISPLAY_NAME: name, "bio": bio, "avatar": avatar}
    after = record | {key: value.strip() for key, value in wished.items() if value is not None}
    return {key: value for key, value in after.items() if key not in wished or value != ""}


def artist(row: ArtistRow) -> dict[str, Any]:
    """As REST shows them. Without a profile of their own they were made when we first saw them."""
    who = orjson.loads(b"{%b}" % row.card)
    since = iso(row.created_at or row.first_seen_at).decode()
    return {
        "did": row.did,
        "handle": who["handle"],
        "display_name": who.get("displayName") or who["handle"],
        "bio": None if row.bio is None else row.bio.decode(),
        "avatar_url": _picture(who.get("avatar")),
        "created_at": since,
        "updated_at": since if row.rev is None else iso_of(rev_time(row.rev)),
        "show_liked_on_profile": row.show_liked,
        "support_url": None if row.support_url is None else row.support_url.decode(),
    }


def _picture(url: str | None) -> str | None:
    found = None if url is None else _BLOB.fullmatch(url)
    return url if found is None else AVATAR_URL.format(did=unquote(found[1]), cid=found[2])


def _is_name(text: str) -> bool:
    """Whether Postgres can be asked for it."""
    return 0 < len(text) <= 2048 and "\0" not in text
