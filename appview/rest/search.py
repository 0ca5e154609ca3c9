"""`/search/`: one text, looked for among tracks, artists, albums and tags.

Each kind is one question, all asked at once. What is found is judged by its name alone, so that kinds can be
compared: 1 is the very name, less is the share of it that the text covers; found by other words is least.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import orjson
from aiohttp import web

from appview.rest import present, site_shapes
from appview.rest.answers import Refused, answer, rest
from appview.rest.spec import described, query_of
from appview.rest.tags import normal
from appview.sound_origins import SoundOrigins
from indexer.albums import album_id, slug
from storage import feed, finding, keyset, rest_feed
from storage.reader import Reads
from storage.search import fold
from storage.spread import Spread, Spreads

LEAST = 0.05
_Found = list[dict[str, Any]]


class Kind(StrEnum):
    TRACKS = "tracks"
    ARTISTS = "artists"
    ALBUMS = "albums"
    TAGS = "tags"


class SearchQuery(msgspec.Struct):
    """`type`: kinds with commas between, in the plural or not; without it, all. `limit`: of each."""

    q: Annotated[str, msgspec.Meta(min_length=2, max_length=100)]
    type: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=50)] = 20


class Search:
    def __init__(self, reads: Reads, spreads: Spreads, sounds: SoundOrigins) -> None:
        self._reads = reads
        self._spreads = spreads
        self._sounds = sounds
        self._ways: dict[Kind, Callable[[Spread, str, int], Awaitable[_Found]]] = {
            Kind.TRACKS: self._tracks,
            Kind.ARTISTS: self._artists,
            Kind.ALBUMS: self._albums,
            Kind.TAGS: self._tags,
        }

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/search/", rest(self.find))

    @described(
        "Tracks, artists, albums and tags that a text is looking for, the best first",
        answer=site_shapes.Search,
        query=SearchQuery,
        errors={400: "`unknown type of search: …`"},
    )
    async def find(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, SearchQuery)
        kinds, text = kinds_of(asked.type), asked.q.replace("\0", " ")
        spread = await self._spreads.get()
        found = await asyncio.gather(*(self._ways[kind](spread, text, asked.limit) for kind in kinds))
        results = sorted((one for each in found for one in each), key=lambda one: -one["relevance"])
        counts = {kind.value: 0 for kind in Kind}
        counts |= {kind.value: len(each) for kind, each in zip(kinds, found, strict=True)}
        return answer({"results": results, "counts": counts})

    async def _tracks(self, spread: Spread, text: str, limit: int) -> _Found:
        page = await feed.REST.search(self._reads, spread, None, text, keyset.RANK_ID.start, limit)
        tracks = present.parsed(page, self._sounds)
        return [
            {
                "type": "track",
                "id": track["id"],
                "title": track["title"],
                "artist_handle": track["artist_handle"],
                "artist_display_name": track["artist"],
                "image_url": track["image_url"],
                "relevance": relevance(text, track["title"]),
            }
            for track in tracks
        ]

    async def _artists(self, spread: Spread, text: str, limit: int) -> _Found:
        return [
            {
                "type": "artist",
                "did": found.did,
                "handle": found.handle,
                "display_name": found.name,
                "avatar_url": orjson.loads(found.avatar),
                "relevance": max(relevance(text, found.name), relevance(text, found.handle)),
            }
            for found in map(present.artist, await finding.artists(self._reads, spread, text, limit))
        ]

    async def _albums(self, spread: Spread, text: str, limit: int) -> _Found:
        found: _Found = []
        for album in await finding.albums(self._reads, spread, text):
            share = relevance(text, album.title)
            if share <= LEAST:
                continue  # a track of it has the words, its own title has not
            by, name = present.artist(album.author), slug(album.title)
            found.append(
                {
                    "type": "album",
                    "id": album_id(by.did, name),
                    "title": album.title,
                    "slug": name,
                    "artist_handle": by.handle,
                    "artist_display_name": by.name,
                    "image_url": present.album_image(album.rest, by),
                    "relevance": share,
                }
            )
        return sorted(found, key=lambda one: (-one["relevance"], one["title"], one["id"]))[:limit]

    async def _tags(self, _: Spread, text: str, limit: int) -> _Found:
        """Their numbers say only that they are the same: nothing is kept of a tag but its name."""
        tag = normal(text)
        if not tag:
            return []
        return [
            {
                "type": "tag",
                "id": zlib.crc32(found.name.encode()),
                "name": found.name,
                "track_count": found.tracks,
                "relevance": relevance(text, found.name),
            }
            for found in await rest_feed.tags(self._reads, tag, limit)
        ]


def kinds_of(text: str | None) -> list[Kind]:
    """Raises Refused 400."""
    named = [name.strip().lower() for name in (text or "").split(",") if name.strip()]
    known = {kind.value: kind for kind in Kind} | {kind.value.removesuffix("s"): kind for kind in Kind}
    for name in named:
        if name not in known:
            raise Refused(400, f"unknown type of search: {name[:50]}")
    return list(dict.fromkeys(known[name] for name in named)) or list(Kind)


def relevance(text: str, name: str) -> float:
    """How much of a name a text covers, from LEAST to 1; each of its words may be the beginning of one."""
    asked, words = fold(text).split(), fold(name).split()
    if asked == words:
        return 1.0
    matched = sum(max((len(each) for each in asked if word.startswith(each)), default=0) for word in words)
    whole = all(any(word.startswith(each) for word in words) for each in asked)
    if not words or not whole:
        return LEAST
    return round(max(LEAST, 0.95 * matched / sum(map(len, words))), 3)
