"""`/oembed` (oembed.com): from the address of a page of ours to what shows it on somebody else's.

Only addresses of our own, and of the frontend that the operator named, are known: we answer for nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from html import escape
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape as xml_escape

import msgspec
import orjson
from aiohttp import hdrs, web

from appview.rest import present, site_shapes
from appview.rest.albums import Shown
from appview.rest.answers import Refused, answer, rest
from appview.rest.spec import described, query_of
from appview.service import Service
from appview.web.site import Site
from indexer.cards import HANDLE_INVALID
from indexer.withheld import leads_to
from storage import feed, people, playlists, sensitive_images

PROVIDER = "plyr.fm"
WIDTH, MOST_WIDTH = 400, 800
LOW, HIGH = 165, 400  # of one track, and of many
THUMBNAIL = 300
_TRACK = re.compile(r"/(?:embed/)?track/([1-9]\d{0,17})/?")
_ARTIST = re.compile(r"/(?:u|embed/artist)/([^/]{1,256})/?")
_PLAYLIST = re.compile(r"/(?:embed/)?playlist/([1-9]\d{0,17})/?")
_ALBUM = re.compile(r"/(?:u/([^/]{1,256})/album|embed/album/([^/]{1,256}))/([^/]{1,512})/?")
# What XML 1.0 has no form for.
_NO_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Pixels = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class OEmbedQuery(msgspec.Struct):
    url: str
    maxwidth: Pixels | None = None
    maxheight: Pixels | None = None
    format: str = "json"


@dataclass(frozen=True, slots=True)
class Embedded:
    """Something that can be embedded. `path` is that of its small page, percent-encoded; `ours`: no frontend
    has one. `actor`: how its author is called in addresses."""

    title: str
    author: str
    actor: str
    path: str
    height: int
    image: str | None
    ours: bool = False


Find = Callable[[re.Match[str]], Awaitable[Embedded | None]]


class OEmbed:
    """`home`: whose pages people look at, the frontend's; None: ours."""

    def __init__(self, service: Service, site: Site, home: str | None, albums: Shown) -> None:
        self._reads = service.reads
        self._sounds = service.config.sounds
        self._site = site
        self._home = home
        self._albums = albums
        self._kinds: list[tuple[re.Pattern[str], Find, str]] = [
            (_TRACK, self._track, "track not found"),
            (_ALBUM, self._album, "album not found"),
            (_PLAYLIST, self._playlist, "playlist not found"),
            (_ARTIST, self._artist, "artist not found"),
        ]

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/oembed", rest(self.show))

    @described(
        "What shows a page of ours on another, as oEmbed; `format=xml` gives the same as XML",
        query=OEmbedQuery,
        answer=site_shapes.OEmbed,
        errors={
            404: "invalid track URL: it is no page of ours; or track, album, playlist, artist not found",
            501: "only json and xml formats are supported",
        },
    )
    async def show(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, OEmbedQuery)
        if asked.format not in ("json", "xml"):
            raise Refused(501, "only json and xml formats are supported")
        own = self._site.base(request)
        home = self._home or own
        shown = await self._find(path_of(asked.url, {home, own}))
        if shown.image is not None and leads_to(shown.image, await self._sensitive()):
            shown = replace(shown, image=None)  # whoever shows it may know of no cover
        author = f"{self._home}/u/" if self._home is not None else f"{own}/embed/artist/"
        told = oembed(
            shown,
            src=(own if shown.ours else home) + shown.path,
            home=home,
            author_url=author + quote(shown.actor),
            maxwidth=asked.maxwidth,
            maxheight=asked.maxheight,
        )
        response = answer(told) if asked.format == "json" else web.Response(body=as_xml(told))
        if asked.format == "xml":
            response.headers[hdrs.CONTENT_TYPE] = "text/xml; charset=utf-8"
        # Anybody's page may ask, and there is nothing of the visitor's in it.
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
        response.headers[hdrs.CACHE_CONTROL] = "public, max-age=300"
        return response

    async def _find(self, path: str | None) -> Embedded:
        for pattern, find, missing in self._kinds:
            match = None if path is None else pattern.fullmatch(path)
            if match is not None:
                shown = await find(match)
                if shown is None:
                    raise Refused(404, missing)
                return shown
        raise Refused(404, "invalid track URL")

    async def _sensitive(self) -> set[str]:
        return {each.sha256 for each in await sensitive_images.all(self._reads)}

    async def _track(self, match: re.Match[str]) -> Embedded | None:
        found = await feed.REST.by_id(self._reads, None, int(match[1]))
        if found is None:
            return None
        track = present.parsed(found, self._sounds)[0]
        title = f"{track['title']} - {track['artist']}"
        path, image = f"/embed/track/{match[1]}", track["image_url"]
        actor = actor_name(track["artist_did"], track["artist_handle"])
        return Embedded(title, track["artist"], actor, path, LOW, image)

    async def _album(self, match: re.Match[str]) -> Embedded | None:
        handle, slug = unquote(match[1] or match[2]), unquote(match[3])
        row = None if "\0" in handle + slug else await self._albums.find(handle, slug)
        if row is None:
            return None
        artist, album = present.artist(row.author), self._albums.of_artist(row)
        actor = actor_name(artist.did, artist.handle)
        path = f"/embed/album/{quote(actor)}/{quote(album['slug'], safe='')}"
        title = f"{album['title']} - {artist.name}"
        return Embedded(title, artist.name, actor, path, HIGH, album["image_url"])

    async def _playlist(self, match: re.Match[str]) -> Embedded | None:
        row = await playlists.get(self._reads, int(match[1]))
        if row is None:
            return None
        owner = present.artist(row.author)
        image = f"{self._albums.origin}/image/{row.cover}" if row.cover else next(iter(row.previews), None)
        title, actor = f"{row.name} - {owner.name}", actor_name(owner.did, owner.handle)
        return Embedded(title, owner.name, actor, f"/embed/playlist/{row.id}", HIGH, image)

    async def _artist(self, match: re.Match[str]) -> Embedded | None:
        name = unquote(match[1])
        rows = [] if "\0" in name else await people.profiles(self._reads, [name])
        if not rows:
            return None
        who = orjson.loads(b"{%b}" % rows[0].card)
        actor, name = actor_name(who["did"], who["handle"]), who.get("displayName") or who["handle"]
        return Embedded(
            name, name, actor, f"/embed/artist/{quote(actor)}", HIGH, who.get("avatar"), ours=True
        )


def actor_name(did: str, handle: str) -> str:
    """A handle, as long as it is one."""
    return did if handle == HANDLE_INVALID else handle


def path_of(url: str, homes: set[str]) -> str | None:
    """The path of an address at one of these origins, by http or https; None: it is elsewhere."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    hosts = {home.partition("://")[2].lower() for home in homes}
    return parts.path if parts.scheme in ("http", "https") and parts.netloc.lower() in hosts else None


def oembed(
    shown: Embedded, *, src: str, home: str, author_url: str, maxwidth: int | None, maxheight: int | None
) -> dict[str, Any]:
    """The answer, no larger than was asked for."""
    width, height = min(maxwidth or WIDTH, MOST_WIDTH), min(maxheight or shown.height, shown.height)
    picture = shown.image if shown.image and shown.image.startswith(("http://", "https://")) else None
    side = None if picture is None else THUMBNAIL
    html = (
        f'<iframe src="{escape(src)}" width="{width}" height="{height}" frameborder="0" '
        f'allow="autoplay; encrypted-media" title="{escape(shown.title)}"></iframe>'
    )
    return {
        "version": "1.0",
        "type": "rich",
        "provider_name": PROVIDER,
        "provider_url": home,
        "title": shown.title,
        "author_name": shown.author,
        "author_url": author_url,
        "width": width,
        "height": height,
        "html": html,
        "thumbnail_url": picture,
        "thumbnail_width": side,
        "thumbnail_height": side,
    }


def as_xml(told: dict[str, Any]) -> bytes:
    """The same in oEmbed's other form; what is not there has no element."""
    lines = [
        f"<{name}>{xml_escape(_NO_XML.sub('', str(value)))}</{name}>"
        for name, value in told.items()
        if value is not None
    ]
    head = '<?xml version="1.0" encoding="utf-8" standalone="yes"?>'
    return f"{head}\n<oembed>{''.join(lines)}</oembed>\n".encode()
