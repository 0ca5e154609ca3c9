"""Sound and images by their hash: `/audio/{file_id}`, `/image/{sha256}`, and signed `/private/{sha256}`.

What is hidden is gone (410), what no track shows is not found (404); so it is within SIGHT_S after an account
was hidden, in every web process.
"""

from __future__ import annotations

import mimetypes
import re
from time import monotonic
from typing import Literal

import msgspec
from aiohttp import hdrs, web

from appview.clients import origin_of
from appview.media.container import SUFFIXES
from appview.media.images import WIDTHS
from appview.media.open_files import OpenFiles
from appview.media.serve import ServeConfig, Served, serve
from appview.media.signed import BadLink, Links
from appview.rest import shapes
from appview.rest.answers import Refused, answer, rest
from appview.rest.elsewhere import Elsewhere, elsewhere, is_page
from appview.rest.spec import described
from appview.sound_origins import SoundOrigins
from storage import media
from storage.blobs.store import Area, BlobStore, Key
from storage.media import Found, Sight
from storage.reader import Reads
from storage.sounds import Format

SIGHT_S = 0.5
MOST_KNOWN = 10_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WIDTH = re.compile(r"[1-9]\d{0,4}")
_GONE = {404: "`audio file not found`", 410: "it is not to be had any more"}
_ELSEWHERE = {307: "to where it is", **_GONE}
_UNFIT = re.compile(r"[\x00-\x1f\x7f/\\]+")
_WORD = {Area.AUDIO: "audio file", Area.IMAGE: "image", Area.PRIVATE: "audio file"}


class _Width(msgspec.Struct):
    w: int | None = None


class _Form(msgspec.Struct):
    playable: str = ""
    format: Literal["opus"] | None = None


class Media:
    """`sounds`: where the sound of others may be; `origin`: where people reach us, without it wherever they
    ask."""

    def __init__(
        self,
        reads: Reads,
        store: BlobStore,
        links: Links,
        config: ServeConfig,
        sounds: SoundOrigins,
        origin: str | None = None,
    ) -> None:
        self._reads = reads
        self._sounds = sounds
        self._store = store
        self._links = links
        self._config = config
        self._files = OpenFiles(store)
        self._origin = origin
        # A player asks many times a second for the same sound when somebody drags its slider.
        self._known: dict[tuple[Area, str, int | None, Format | None], tuple[float, Found | None]] = {}

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/audio/{file_id}", rest(self.audio))
        router.add_get("/audio/{file_id}/download", rest(self.download))
        router.add_get("/audio/{file_id}/url", rest(self.url))
        router.add_get("/image/{sha256}", rest(self.image))
        router.add_get("/private/{sha256}", rest(self.private))

    @property
    def origins(self) -> str:
        """Where a page may have to fetch what we send it to, as a Content-Security-Policy says it."""
        here = self._store.path(Key(Area.AUDIO, "0" * 64)) is not None
        return "'self'" if here else "'self' https:"

    @described(
        "A sound, whole or in parts, as it is, as every browser plays it (`playable`), or in a `format`; 307"
        " where it is elsewhere",
        query=_Form,
        media="audio/*",
        errors={**_ELSEWHERE, 422: "no such format"},
    )
    async def audio(self, request: web.Request) -> web.StreamResponse:
        """`?playable`: the sound itself where every browser plays it, else the MP3 made of it, else 404.
        `?format=opus`: the Opus made of it, else 404."""
        form = Format.MP3 if "playable" in request.query else None
        named = request.query.get("format")
        if named is not None:
            if named != Format.OPUS:
                raise Refused(422, "format is opus, or not said")
            form = Format.OPUS
        return await self._sound(request, save="download" in request.query, form=form)

    @described(
        "A sound as a file to save, named after its track; 307 where that says that it is elsewhere",
        media="audio/*",
        errors=_ELSEWHERE,
    )
    async def download(self, request: web.Request) -> web.StreamResponse:
        return await self._sound(request, save=True)

    @described(
        "Where a sound is",
        answer=shapes.AudioUrl,
        errors=_GONE,
    )
    async def url(self, request: web.Request) -> web.StreamResponse:
        file_id = request.match_info["file_id"]
        found = await self._in_sight(Area.AUDIO, file_id)
        if found is not None:
            url = f"{self._origin or origin_of(request)}/audio/{file_id}"
            suffix = (SUFFIXES.get(found.mime) or mimetypes.guess_extension(found.mime) or "").lstrip(".")
            return answer({"url": url, "file_id": file_id, "file_type": suffix or None})
        far = await self._elsewhere(request, file_id)
        if far is None:
            raise _missing(Area.AUDIO)
        return answer({"url": far.url, "file_id": file_id, "file_type": far.file_type})

    async def _sound(
        self, request: web.Request, *, save: bool, form: Format | None = None
    ) -> web.StreamResponse:
        file_id = request.match_info["file_id"]
        found = await self._in_sight(Area.AUDIO, file_id, form=form)
        if found is not None:
            return await self._served(request, found, save=save)
        far = None if form or is_page(request) else await self._elsewhere(request, file_id)
        if far is None:
            raise _missing(Area.AUDIO)
        headers = {hdrs.LOCATION: far.url, hdrs.CACHE_CONTROL: "no-store", "Access-Control-Allow-Origin": "*"}
        return web.Response(status=307, headers=headers)

    async def _elsewhere(self, request: web.Request, file_id: str) -> Elsewhere | None:
        return await elsewhere(self._reads, self._sounds, request, file_id)

    @described(
        "A picture; `w` says how wide it is to be",
        query=_Width,
        media="image/*",
        errors={404: "`image not found`"},
    )
    async def image(self, request: web.Request) -> web.StreamResponse:
        """`?w=` names a width in pixels: the smallest rendition that is as wide, else the image itself."""
        width = request.query.get("w")
        if width is not None and _WIDTH.fullmatch(width) is None:
            raise Refused(422, "w is a width in pixels")
        # Wider than all renditions is the image itself; so few answers are known for each image.
        wide = None if width is None else next((each for each in WIDTHS if each >= int(width)), None)
        return await self._answer(request, Area.IMAGE, request.match_info["sha256"], wide)

    @described(
        "What only a signed address gets",
        media="audio/*",
        errors={403: "the signature is wrong, or too old", 404: "`audio file not found`"},
    )
    async def private(self, request: web.Request) -> web.StreamResponse:
        try:
            self._links.check(request.path, request.query)
        except BadLink as error:
            raise Refused(403, str(error)) from None
        return await self._answer(request, Area.PRIVATE, request.match_info["sha256"])

    async def _answer(
        self, request: web.Request, area: Area, sha256: str, width: int | None = None
    ) -> web.StreamResponse:
        found = await self._in_sight(area, sha256, width)
        if found is None:
            raise _missing(area)
        return await self._served(request, found, save="download" in request.query)

    async def _in_sight(
        self, area: Area, sha256: str, width: int | None = None, *, form: Format | None = None
    ) -> Found | None:
        """What may be seen; None: we have nothing that is. Raises Refused 410 for what is hidden."""
        found = await self.find(area, sha256, width, form=form) if _SHA256.fullmatch(sha256) else None
        if found is None or found.sight is Sight.NOWHERE:
            return None
        if found.sight is Sight.HIDDEN:
            raise Refused(410, f"{_WORD[area]} is not available")
        return found

    async def guarded(self, request: web.Request, area: Area, sha256: str) -> web.StreamResponse:
        """An image, or a sound as every browser plays it, in sight or not: for whoever decides about it, and
        no cache. Raises Refused 404."""
        found = await self.find(area, sha256, form=Format.MP3 if area is Area.AUDIO else None)
        if found is None:
            raise _missing(area)
        return await serve(
            request, self._store, Served(found.key, found.mime, guarded=True), self._config, self._files
        )

    async def _served(self, request: web.Request, found: Found, *, save: bool) -> web.StreamResponse:
        filename = _file_name(found) if save else None
        return await serve(
            request, self._store, Served(found.key, found.mime, filename), self._config, self._files
        )

    async def find(
        self, area: Area, sha256: str, width: int | None = None, *, form: Format | None = None
    ) -> Found | None:
        """What `storage.media.find` said, at most SIGHT_S ago."""
        name = area, sha256, width, form
        until, found = self._known.get(name, (0.0, None))
        if monotonic() >= until:
            until = monotonic() + SIGHT_S  # from before the question: the answer is as old as that
            found = await media.find(self._reads, area, sha256, width=width, form=form)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[name] = until, found
        return found


def _missing(area: Area) -> Refused:
    return Refused(404, f"{_WORD[area]} not found")


def _file_name(found: Found) -> str:
    """What a person saves it as: the title, and what its bytes are."""
    stem = _UNFIT.sub(" ", found.title).strip(" .") or found.key.sha256[:16]
    return stem + (SUFFIXES.get(found.mime) or mimetypes.guess_extension(found.mime) or "")
