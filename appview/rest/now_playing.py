"""`/now-playing/`: what somebody listens to, told by their player every few seconds, for scrobblers to read.

A word holds for five minutes. How a track is called is asked of the index and not of the player; what the
player says is shown only of what is no track of ours, and of one that cannot be seen any more nothing is.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import Meta

from appview.auth.desk import Desk
from appview.rest import present, shapes
from appview.rest.answers import Refused, answer, body_of, rest, slashed
from appview.rest.spec import Auth, described
from appview.sound_origins import SoundOrigins
from lexicons.syntax import Did
from storage import feed, now_playing
from storage.now_playing import NoAccount, Playing, Told
from storage.reader import Reads

_DONE = {"status": "ok"}
Name = Annotated[str, Meta(max_length=1024)]
Ms = Annotated[int, Meta(ge=0, le=2**53)]


class NowPlaying(msgspec.Struct):
    track_id: Annotated[int, Meta(ge=0, le=2**53)]
    file_id: Annotated[str, Meta(max_length=256)]
    track_name: Name
    artist_name: Name
    duration_ms: Ms
    progress_ms: Ms
    is_playing: bool
    album_name: Name | None = None
    image_url: Annotated[str, Meta(max_length=2048)] | None = None


class Playings:
    """`home`: where people look at tracks."""

    def __init__(self, desk: Desk, reads: Reads, home: str, sounds: SoundOrigins) -> None:
        self._desk = desk
        self._reads = reads
        self._sounds = sounds
        self._home = home

    def add_to(self, router: web.UrlDispatcher) -> None:
        slashed(router, "/now-playing/")
        router.add_post("/now-playing/", rest(self.tell))
        router.add_delete("/now-playing/", rest(self.stop))
        router.add_get("/now-playing/by-handle/{handle}", rest(self.by_handle))
        router.add_get("/now-playing/by-did/{did}", rest(self.by_did))

    @described("Listen to this now, for five minutes", body=NowPlaying, answer=shapes.Done, auth=Auth.SESSION)
    async def tell(self, request: web.Request) -> web.StreamResponse:
        did = Did((await self._desk.asking(request)).session.did)
        told = await body_of(request, NowPlaying)
        async with self._desk.pool.connection() as conn:
            if told.is_playing:
                await now_playing.put(
                    conn,
                    did,
                    track_id=told.track_id,
                    file_id=_clean(told.file_id),
                    told=Told(
                        _clean(told.track_name),
                        _clean(told.artist_name),
                        told.album_name and _clean(told.album_name),
                        told.image_url and _clean(told.image_url),
                    ),
                    duration_ms=told.duration_ms,
                    progress_ms=told.progress_ms,
                )
            else:
                await now_playing.erase(conn, did)
        return answer(_DONE)

    @described("Listen to nothing", answer=shapes.Done, auth=Auth.SESSION)
    async def stop(self, request: web.Request) -> web.StreamResponse:
        did = Did((await self._desk.asking(request)).session.did)
        async with self._desk.pool.connection() as conn:
            await now_playing.erase(conn, did)
        return answer(_DONE)

    @described(
        "What somebody listens to, by their handle; 204 where that is nothing",
        answer=shapes.NowPlaying,
        errors={204: "nothing is playing", 404: "user not found"},
    )
    async def by_handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._shown(request.match_info["handle"])
        except NoAccount:
            raise Refused(404, "user not found") from None

    @described(
        "What somebody listens to, by their DID; 204 where that is nothing",
        answer=shapes.NowPlaying,
        errors={204: "nothing is playing, or nobody has this DID"},
    )
    async def by_did(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._shown(request.match_info["did"])
        except NoAccount:
            return web.Response(status=204)

    async def _shown(self, name: str) -> web.Response:
        if "\0" in name:
            raise NoAccount
        playing = await now_playing.of(self._reads, name if name.startswith("did:") else name.lower())
        if playing is None:
            return web.Response(status=204)
        found = await feed.REST.by_id(self._reads, None, playing.track_id) if playing.is_track else None
        if playing.is_track and found is None:
            return web.Response(status=204)
        track = None if found is None else present.parsed(found, self._sounds)[0]
        return answer(shown(playing, track, self._home))


def shown(playing: Playing, track: dict[str, Any] | None, home: str) -> dict[str, Any]:
    """As scrobblers read it; `track`: as the index has it."""
    told = playing.told
    names = {
        "track_name": told.track_name,
        "artist_name": told.artist_name,
        "album_name": told.album_name,
        "image_url": told.image_url,
        "file_id": playing.file_id,
    }
    if track is not None:
        names = {
            "track_name": track["title"],
            "artist_name": track["artist"],
            "album_name": None if track["album"] is None else track["album"]["title"],
            "image_url": track["image_url"],
            "file_id": track["file_id"],
        }
    return names | {
        "duration_ms": playing.duration_ms,
        "progress_ms": playing.progress_ms,
        "is_playing": True,
        "track_id": playing.track_id,
        "track_url": f"{home}/track/{playing.track_id}",
        "service_base_url": urlsplit(home).netloc,
    }


def _clean(text: str) -> str:
    """What Postgres has a form for."""
    return text.replace("\0", "")
