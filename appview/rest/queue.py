"""`/queue/`: what somebody listens to next, on whichever device.

The state is the frontend's: it is kept as it came, but for spaces, and only `track_ids` is looked at, whose
members are the `file_id`s of tracks. A device that says which revision it knows (`If-Match`) does not
overwrite what another one wrote meanwhile; one that does not say so overwrites anything.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, cast

import msgspec
import orjson
from aiohttp import hdrs, web

from appview.auth.desk import Desk
from appview.rest import present, shapes
from appview.rest.answers import Refused, answer_json, body_of, object_in, rest, slashed
from appview.rest.asker import Asker
from appview.rest.spec import Auth, described
from appview.sound_origins import SoundOrigins
from lexicons.syntax import Did
from storage import player_queue
from storage.feed import REST, Tracks
from storage.player_queue import MOST_TRACKS, Queue
from storage.preferences import DEFAULTS
from storage.reader import Reads

MAX_BODY = 256 * 1024
_CONFLICT = (
    "queue state conflict: state has been modified by another client. "
    "please fetch the latest state and retry."
)
_MALFORMED = "invalid If-Match header format (expected quoted integer)"
# Quoted, weakened by a proxy on its way that changed the body, or as bare as lazy clients send it.
_REVISION = re.compile(r'(?:W/)?"(\d{1,18})"|(\d{1,18})')
_FILE_ID = re.compile(r"[0-9a-f]{1,64}")
_EMPTY = b'{"track_ids":[],"current_index":0,"current_track_id":null,"shuffle":false,"original_order_ids":[]}'


class QueueUpdate(msgspec.Struct):
    state: Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]


class Queues:
    def __init__(self, desk: Desk, reads: Reads, sounds: SoundOrigins) -> None:
        self._desk = desk
        self._reads = reads
        self._sounds = sounds
        self._asker = Asker(reads, desk, None)

    def add_to(self, router: web.UrlDispatcher) -> None:
        slashed(router, "/queue/")
        router.add_get("/queue/", rest(self.show))
        router.add_put("/queue/", rest(self.replace))

    @described("The queue of whoever asks; `ETag` is its revision", answer=shapes.Queue, auth=Auth.SESSION)
    async def show(self, request: web.Request) -> web.StreamResponse:
        return self._shown(*await self._asker.own(request, _held))

    @described(
        "Replace it; with `If-Match` only the revision that is named there",
        body=QueueUpdate,
        answer=shapes.Queue,
        auth=Auth.SESSION,
        errors={400: _MALFORMED, 409: _CONFLICT, 413: "the body is too large"},
    )
    async def replace(self, request: web.Request) -> web.StreamResponse:
        session = (await self._desk.asking(request)).session
        expected = revisions(request.headers.getall(hdrs.IF_MATCH, ()))
        state = object_in((await body_of(request, QueueUpdate, max_bytes=MAX_BODY)).state, "state")
        async with self._desk.pool.connection() as conn:
            queue = await player_queue.put(conn, Did(session.did), orjson.dumps(state), expected)
        if queue is None:
            raise Refused(409, _CONFLICT)
        return self._shown(queue, await _named(self._reads, session.did, queue))

    def _shown(self, queue: Queue, tracks: Tracks) -> web.Response:
        """`{state, revision, tracks}`: a track that is in it twice is shown twice."""
        auto = DEFAULTS.auto_advance if queue.auto_advance is None else queue.auto_advance
        state = with_choice(_EMPTY if queue.state is None else queue.state, auto)
        head = b'{"state":%b,"revision":%d,"tracks":[' % (state, queue.revision)
        response = answer_json(head, present.listed(tracks, self._sounds), b"]}")
        response.headers[hdrs.ETAG] = f'"{queue.revision}"'
        return response


async def _held(reads: Reads, did: Did) -> tuple[Queue, Tracks]:
    """Somebody's queue, and the tracks in it."""
    queue, tracks = await player_queue.of(reads, did)
    return queue, await _named(reads, did, queue) if tracks is None else tracks


async def _named(reads: Reads, did: Did, queue: Queue) -> Tracks:
    """The tracks that a queue names."""
    ids = [] if queue.state is None else file_ids(orjson.loads(queue.state))
    return await player_queue.tracks(reads, did, ids) if ids else REST.none


def with_choice(state: bytes, auto: bool) -> bytes:
    """A state with what the account chose: another member at its end, unless it has one of that name."""
    if b"auto_advance" in state:
        return orjson.dumps(orjson.loads(state) | {"auto_advance": auto})
    members = state.strip()[1:-1].strip()
    return b'{%b%b"auto_advance":%b}' % (members, b"," if members else b"", b"true" if auto else b"false")


def revisions(headers: tuple[str, ...] | list[str]) -> list[int] | None:
    """Those that `If-Match` takes; None: any. Raises Refused 400."""
    asked = [one.strip() for header in headers for one in header.split(",") if one.strip()]
    if not asked or asked == ["*"]:
        return None
    found = [_REVISION.fullmatch(one) for one in asked]
    if None in found:
        raise Refused(400, _MALFORMED)
    return [int(each[1] or each[2]) for each in found if each is not None]


def file_ids(state: dict[str, Any]) -> list[str]:
    """What is in the queue, in its order, as far as it can be a sound."""
    ids = state.get("track_ids")
    if not isinstance(ids, list):
        return []
    named = cast("list[object]", ids)[:MOST_TRACKS]
    return [id for id in named if isinstance(id, str) and _FILE_ID.fullmatch(id)]
