"""`/tracks/{id}/comments` and `/tracks/comments/{id}`: what people say about moments of a track.

A comment is on its author's PDS and in the index when this answers. Whether a track's comments can be seen
here, and written, is for its artist to say; XRPC shows what is on the network.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
import orjson
from aiohttp import web

from appview.media.attempt import Place
from appview.own_comments import MOST, OwnComments, TrackFull
from appview.own_records import NoSuchRecord
from appview.records import WriteFailed
from appview.rest import shapes
from appview.rest.actors import Actors, unwritten
from appview.rest.answers import Refused, answer, body_of, problem, rest
from appview.rest.ids import id_of
from appview.rest.spec import Auth, described
from appview.subjects import NoRecord, NoTrack, seen
from indexer.cards import HANDLE_INVALID
from lexicons.syntax import Did, InvalidSyntax, Rkey, parse_datetime
from storage import preferences, remarks
from storage.reader import Reads
from storage.remarks import CommentRow

SHOWN = 1000  # of what the network has on a track, by the order of moments
MOST_BYTES = 1000  # as records may have

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_BYTES)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]


class NewComment(msgspec.Struct):
    """`text`: at most 1000 bytes of UTF-8."""

    text: Text
    timestamp_ms: Milliseconds


class ChangedComment(msgspec.Struct):
    """`text`: at most 1000 bytes of UTF-8."""

    text: Text


class Deleted(msgspec.Struct):
    deleted: bool


_WRITING = {
    401: "nobody is signed in, or has to sign in anew",
    403: "the grant does not cover comments, or it is somebody else's",
    500: "the PDS refuses",
    502: "the PDS is away",
}


class Comments:
    def __init__(self, actors: Actors, place: Place, reads: Reads) -> None:
        self._actors = actors
        self._place = place
        self._reads = reads

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/tracks/{track_id}/comments", rest(self.list))
        router.add_post("/tracks/{track_id}/comments", rest(self.add))
        router.add_patch("/tracks/comments/{comment_id}", rest(self.edit))
        router.add_delete("/tracks/comments/{comment_id}", rest(self.delete))

    @described(
        "The comments on a track, in the order of the moments that they are about",
        answer=shapes.Comments,
        errors={404: "track not found"},
    )
    async def list(self, request: web.Request) -> web.StreamResponse:
        """None where the artist wants none. `count` may be more than are shown."""
        id = id_of(request, "track_id")
        found = await remarks.artist(self._reads, id)
        if found is None:
            raise Refused(404, "track not found")
        artist, count = found
        if not await preferences.allows_comments(self._reads, artist):
            return answer({"comments": [], "count": 0, "comments_enabled": False})
        shown = [comment_shape(row) for row in await remarks.shown(self._reads, id, SHOWN)]
        return answer({"comments": shown, "count": max(count, len(shown)), "comments_enabled": True})

    @described(
        "Say something about a moment of a track",
        answer=shapes.Comment,
        auth=Auth.ACTOR,
        body=NewComment,
        errors={
            **_WRITING,
            400: "the track has no room for more comments",
            403: "the artist wants no comments, or the grant does not cover them",
            404: "track not found",
            422: "the track's own record is gone",
        },
    )
    async def add(self, request: web.Request) -> web.StreamResponse:
        id = id_of(request, "track_id")
        wish = await body_of(request, NewComment)
        _check(wish.text)
        own, did = await self._own(request)
        try:
            async with self._place.pool.connection() as conn:
                track = await seen(conn, id)
            if not await preferences.allows_comments(self._reads, track.artist):
                raise Refused(403, "comments are disabled for this artist's tracks")
            rkey = await own.add(id, track, wish.text, wish.timestamp_ms)
        except NoTrack:
            raise Refused(404, "track not found") from None
        except NoRecord:
            raise Refused(422, "track missing ATProto record - cannot comment") from None
        except TrackFull:
            raise Refused(400, f"track has reached maximum of {MOST} comments") from None
        except WriteFailed as error:
            raise unwritten("failed to create comment", error) from error
        row = await remarks.comment_at(self._reads, did, rkey)
        if row is None:  # deleted meanwhile, or the PDS did not say what it did
            raise Refused(502, "failed to create comment")
        return answer(comment_shape(row))

    @described(
        "Change what a comment of one's own says",
        answer=shapes.Comment,
        auth=Auth.ACTOR,
        body=ChangedComment,
        errors={**_WRITING, 404: "comment not found"},
    )
    async def edit(self, request: web.Request) -> web.StreamResponse:
        id = id_of(request, "comment_id")
        wish = await body_of(request, ChangedComment)
        _check(wish.text)
        own, did = await self._own(request)
        rkey = await self._mine(id, did, "edit")
        try:
            await own.edit(rkey, wish.text)
        except NoSuchRecord:
            raise _not_found() from None
        except WriteFailed as error:
            raise unwritten("failed to update comment on ATProto", error) from error
        row = await remarks.comment_at(self._reads, did, rkey)
        if row is None:  # it was there: it was deleted meanwhile, or taken down
            raise _not_found()
        return answer(comment_shape(row))

    @described(
        "Delete a comment of one's own",
        answer=Deleted,
        auth=Auth.ACTOR,
        errors={**_WRITING, 404: "comment not found"},
    )
    async def delete(self, request: web.Request) -> web.StreamResponse:
        id = id_of(request, "comment_id")
        own, did = await self._own(request)
        rkey = await self._mine(id, did, "delete")
        try:
            await own.remove(rkey)
        except WriteFailed as error:
            raise unwritten("failed to delete comment on ATProto", error) from error
        return answer({"deleted": True})

    async def _own(self, request: web.Request) -> tuple[OwnComments, Did]:
        actor = await self._actors.of(request, self._place.catalog.collections.comment)
        return OwnComments(self._place, actor.session, actor.did), actor.did

    async def _mine(self, id: int, did: Did, what: str) -> Rkey:
        async with self._place.pool.connection() as conn:
            found = await remarks.author(conn, id)
        if found is None:
            raise _not_found()
        if found[0] != did:
            raise Refused(403, f"can only {what} your own comments")
        return found[1]


def comment_shape(row: CommentRow) -> dict[str, Any]:
    """A comment as the REST interface shows it; who has no handle is called by their DID."""
    id, card, author = row
    view, by = (orjson.loads(b"{" + (members or b"") + b"}") for members in (card, author))
    record: dict[str, Any] = view["record"]
    return {
        "id": int(id or 0),
        "user_did": by["did"],
        "user_handle": by["did"] if by["handle"] == HANDLE_INVALID else by["handle"],
        "user_display_name": by.get("displayName"),
        "user_avatar_url": by.get("avatar"),
        "text": record["text"],
        "timestamp_ms": record["timestampMs"],
        "created_at": _time(record["createdAt"], view["indexedAt"]),
        "updated_at": _time(record["updatedAt"], view["indexedAt"]) if record.get("updatedAt") else None,
    }


def _time(text: str, indexed_at: str) -> str:
    """Of a date that no calendar has, when it was written."""
    try:
        return parse_datetime(text).isoformat()
    except InvalidSyntax:
        return datetime.fromisoformat(indexed_at).isoformat()


def _check(text: str) -> None:
    if len(text.encode()) > MOST_BYTES:
        raise Refused(422, [problem(f"Expected `str` of at most {MOST_BYTES} bytes - at `$.text`", "body")])


def _not_found() -> Refused:
    return Refused(404, "comment not found")
