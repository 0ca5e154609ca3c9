"""Sound that is not here: where the record of a track says that it is.

Players know a sound by its `file_id`, whoever has it, and are sent on. People are not: else whoever
publishes a record could lead them anywhere by an address of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from appview.sound_origins import SoundOrigins, is_blob
from storage import media
from storage.reader import Reads

_NAME = re.compile(r"[0-9a-f]{16,64}")
_PAGES = frozenset({"document", "embed", "frame", "iframe", "object"})


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where it is, and what its record calls its format."""

    url: str
    file_type: str


async def elsewhere(
    reads: Reads, sounds: SoundOrigins, request: web.Request, file_id: str
) -> Elsewhere | None:
    """None: nobody in sight has it, it should be here and is not, or what the record says is not allowed, or
    did not answer when it was last asked (appview/jobs/far_sounds.py)."""
    if _NAME.fullmatch(file_id) is None:
        return None
    for rest, answering in await media.elsewhere(reads, file_id):
        said = orjson.loads(b"{%b%b}" % (rest, b"null}" if rest.endswith(b":") else b""))
        url = said["r2_url"]
        if url is None or not _is_far(url, request):
            continue
        if is_blob(rest) or (url == answering and sounds.allows(url)):
            return Elsewhere(url, said["file_type"])
    return None


def is_page(request: web.Request) -> bool:
    """Whether a browser would show what it is sent to as a page."""
    return request.headers.get("Sec-Fetch-Dest") in _PAGES


def _is_far(url: str, request: web.Request) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc not in ("", request.host)
