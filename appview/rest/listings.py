"""Tracks in rows: everybody's, an artist's, one's own, those that somebody likes, those that are played most.

Each is one question to the database, and one more where anybody is featured. A page says where the next one
begins (`next_cursor`), and keeps its order whatever comes in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import msgspec
from aiohttp import web

from appview import cursors
from appview.errors import InvalidRequest
from appview.jobs.house import ECHO_S
from appview.rest import present, shapes
from appview.rest.answers import Refused, answer_json, rest
from appview.rest.asker import Asker
from appview.rest.spec import Auth, described, query_of
from appview.rest.tags import MOST_TAGS, normal
from appview.sound_origins import SoundOrigins
from appview.xrpc.addresses import record_uris
from lexicons.catalog import Collections
from lexicons.syntax import Did, InvalidSyntax, tid_from_us
from storage import feed, keyset, people, rest_feed
from storage.feed import Tracks
from storage.keyset import Keyset, Place
from storage.reader import Reads
from storage.rest_feed import Sort

PAGE, MOST = 50, 100
TOP_TTL_S = 60.0

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Period(StrEnum):
    ALL_TIME = "all_time"
    MONTH = "month"
    WEEK = "week"
    DAY = "day"


# Before today, whose plays count whatever the hour.
_DAYS = {Period.MONTH: 30, Period.WEEK: 7, Period.DAY: 1}


class ListQuery(msgspec.Struct):
    """`artist_did` may be a handle, too; `tags` may come several times, and means any of them."""

    artist_did: str | None = None
    tags: str | None = None
    cursor: str | None = None
    limit: int = PAGE


class PageQuery(msgspec.Struct):
    cursor: str | None = None
    limit: int = MOST


class MineQuery(msgspec.Struct):
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = MOST
    offset: _Number = 0
    q: str | None = None
    sort: Sort = Sort.RECENT


class TopQuery(msgspec.Struct):
    period: Period = Period.ALL_TIME
    limit: int = 10


class UriQuery(msgspec.Struct):
    uri: str


class Listings:
    def __init__(self, reads: Reads, asker: Asker, collections: Collections, sounds: SoundOrigins) -> None:
        self._reads = reads
        self._sounds = sounds
        self._asker = asker
        self._track = collections.track
        self._top = _Top(reads)

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/tracks/", rest(self.all))
        router.add_get("/tracks/me", rest(self.mine))
        router.add_get("/tracks/me/broken", rest(self.broken))
        router.add_get("/tracks/liked", rest(self.liked))
        router.add_get("/tracks/top", rest(self.top))
        router.add_get("/tracks/by-uri", rest(self.by_uri))
        router.add_get("/users/{handle}/likes", rest(self.likes_of))

    @described(
        "Tracks, newest first",
        answer=shapes.TrackPage,
        auth=Auth.OPTIONAL,
        query=ListQuery,
        errors={400: "`invalid cursor format`, or more than ten tags"},
    )
    async def all(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, ListQuery)
        after, limit = _place(asked.cursor, keyset.TIME_ID), _limit(asked.limit)
        artist = None if asked.artist_did is None else await self._did(asked.artist_did)
        tags = list(dict.fromkeys(filter(None, map(normal, request.query.getall("tags", ())))))
        if len(tags) > MOST_TAGS:
            raise Refused(400, f"maximum {MOST_TAGS} tags allowed")

        async def page(reads: Reads, viewer: Did | None) -> Tracks:
            if tags:
                return await rest_feed.tagged(reads, viewer, tags, artist, after, limit)
            if artist is not None:
                return await rest_feed.by_artist(reads, viewer, artist, after, limit)
            return await feed.REST.latest(reads, viewer, after, limit)

        return self._page(await self._asker.shown(request, page))

    @described("One's own tracks", answer=shapes.MyTracks, auth=Auth.SESSION, query=MineQuery)
    async def mine(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, MineQuery)
        words = (asked.q or "").strip().replace("\0", "") or None
        tracks, total = await self._asker.own(
            request,
            lambda reads, did: rest_feed.mine(reads, did, asked.sort, words, asked.limit, asked.offset),
        )
        more = b"true" if asked.offset + tracks.count < total and tracks.count else b"false"
        told = b'"total":%d,"has_more":%b,"pds_savable_count":0' % (total, more)
        return answer_json(*present.page(present.listed(tracks, self._sounds), told))

    @described(
        "One's own tracks whose record nobody has proven in time",
        answer=shapes.BrokenTracks,
        auth=Auth.SESSION,
    )
    async def broken(self, request: web.Request) -> web.StreamResponse:
        before = tid_from_us(time.time_ns() // 1000 - ECHO_S * 1_000_000)
        tracks = await self._asker.own(
            request, lambda reads, did: rest_feed.unproven(reads, did, before, self._track, MOST)
        )
        told = b'"count":%d' % tracks.count
        return answer_json(*present.page(present.listed(tracks, self._sounds), told))

    @described(
        "Tracks that one likes, by when, latest first",
        answer=shapes.TrackPage,
        auth=Auth.SESSION,
        query=PageQuery,
        errors={400: "`invalid cursor format`"},
    )
    async def liked(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, PageQuery)
        after, limit = _place(asked.cursor, keyset.TIME_RKEY), _limit(asked.limit)
        return self._page(
            await self._asker.own(request, lambda reads, did: rest_feed.liked(reads, did, after, limit))
        )

    @described("Tracks that are played most", answer=list[shapes.Track], auth=Auth.OPTIONAL, query=TopQuery)
    async def top(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, TopQuery)
        limit = _limit(asked.limit)
        ids = None if asked.period is Period.ALL_TIME else await self._top.since(_DAYS[asked.period])

        async def found(reads: Reads, viewer: Did | None) -> Tracks:
            if ids is None:
                return await feed.REST.top(reads, viewer, keyset.COUNT_ID.start, limit)
            return await rest_feed.by_ids(reads, viewer, ids[:limit])

        tracks = await self._asker.shown(request, found)
        return answer_json(b"[", present.listed(tracks, self._sounds), b"]")

    @described(
        "The track at an AT-URI",
        answer=shapes.Track,
        auth=Auth.OPTIONAL,
        query=UriQuery,
        errors={404: "`track not found`"},
    )
    async def by_uri(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, UriQuery)
        try:
            named = await record_uris(self._reads, [asked.uri], self._track)
        except InvalidSyntax:
            raise Refused(422, "uri is not an AT-URI") from None
        uris = [f"at://{did}/{self._track}/{rkey}" for did, rkey in named]
        found = await self._asker.shown(request, lambda reads, viewer: feed.REST.by_uris(reads, viewer, uris))
        if not found.count:
            raise Refused(404, "track not found")
        return answer_json(present.listed(found, self._sounds))

    @described(
        "Tracks that somebody likes, by when, latest first",
        answer=shapes.UserLikes,
        auth=Auth.OPTIONAL,
        query=PageQuery,
        errors={400: "`invalid cursor format`", 404: "`user not found`"},
    )
    async def likes_of(self, request: web.Request) -> web.StreamResponse:
        """`count`: of this page."""
        asked = query_of(request, PageQuery)
        after, viewer = _place(asked.cursor, keyset.TIME_RKEY), await self._asker.viewer(request)
        actor = await people.actor(self._reads, request.match_info["handle"])
        if actor is None:
            raise Refused(404, "user not found")
        page, cards = await asyncio.gather(
            rest_feed.liked_by(self._reads, viewer, actor.repo_id, after, _limit(asked.limit)),
            people.cards(self._reads, [actor.did]),
        )
        if not cards:
            raise Refused(404, "user not found")
        told = b'"user":%b,"count":%d' % (present.artist(cards[0]).person, page.count)
        return self._page(page, told)

    def _page(self, page: Tracks, *more: bytes) -> web.Response:
        after = b"null" if page.next is None else b'"%b"' % cursors.encode(page.next)
        told = b'"next_cursor":%b,"has_more":%b' % (after, b"false" if page.next is None else b"true")
        return answer_json(*present.page(present.listed(page, self._sounds), *more, told))

    async def _did(self, name: str) -> str:
        """Of a handle that nobody has, the handle, under which nothing is found."""
        if name.startswith("did:"):
            return name.replace("\0", "")
        return (await people.dids(self._reads, [name.replace("\0", "")])).get(name, "")


class _Top:
    """What was played most in the last days, at most TOP_TTL_S old: it is computed over everybody's plays, so
    not more than once at a time."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._lock = asyncio.Lock()
        self._known: dict[int, tuple[float, Sequence[int]]] = {}

    async def since(self, days: int) -> Sequence[int]:
        """Numbers of tracks."""
        until, ids = self._known.get(days, (0.0, ()))
        if time.monotonic() < until:
            return ids
        async with self._lock:
            until, ids = self._known.get(days, (0.0, ()))
            if time.monotonic() >= until:
                first = datetime.now(UTC).date() - timedelta(days=days)
                ids = await rest_feed.top_since(self._reads, first, MOST)
                self._known[days] = time.monotonic() + TOP_TTL_S, ids
        return ids


def _limit(asked: int) -> int:
    """Clients ask for more than a page has."""
    return min(max(asked, 1), MOST)


def _place(cursor: str | None, keys: Keyset) -> Place:
    try:
        return cursors.decode(cursor or None, keys)
    except InvalidRequest:
        raise Refused(400, "invalid cursor format") from None
