"""Answers a request for a blob: from our disk, or by saying where else it is.

    a file of this machine   200, 206, 304, 416 with its bytes; or X-Accel-Redirect, and nginx sends them
    an S3                    302 to the CDN in front of it where the blob is public, else to a signed address

Bytes never change under their name, so a public answer may be kept for ever, and the ETag is the hash. What
we serve was made by strangers: no browser may take it for a page or a script (rule G2).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import hdrs, web
from multidict import CIMultiDict

from appview.media.body import answer
from appview.media.open_files import OpenFiles
from storage.blobs.store import BlobStore, Key

_FOREVER = "public, max-age=31536000, immutable"
SAFETY = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
# Any page may play what is public, and look into it; nobody's cookies go along.
_OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range, ETag",
}
_PUBLIC = CIMultiDict(SAFETY | {hdrs.CACHE_CONTROL: _FOREVER} | _OPEN)
_CLOSED = CIMultiDict(SAFETY | {hdrs.CACHE_CONTROL: "private, no-store"})


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """`accel_prefix`: internal location of an nginx in front of us, an alias of the blob folder. `media_url`:
    address under which the public bucket is open to everybody. `link_s`: how long a signed address lives."""

    accel_prefix: str | None = None
    media_url: str | None = None
    link_s: int = 1800


ALONE = ServeConfig()


@dataclass(frozen=True, slots=True)
class Served:
    """What is asked for, after somebody decided that it may be had. `filename`: to be saved under it.
    `guarded`: by whoever asks alone, though it is or was public."""

    key: Key
    mime: str
    filename: str | None = None
    guarded: bool = False

    @property
    def public(self) -> bool:
        return self.key.area.public and not self.guarded


async def serve(
    request: web.Request, store: BlobStore, served: Served, config: ServeConfig, files: OpenFiles
) -> web.StreamResponse:
    """The answer to a GET or HEAD, from `files`, which are the store's. Raises web.HTTPNotFound where it does
    not have it."""
    if config.accel_prefix is not None and (path := store.path(served.key)) is not None:
        where = "/".join([config.accel_prefix.rstrip("/"), *path.parts[-3:]])  # area, two letters, hash
        told = _headers(served)
        told.update({hdrs.ETAG: _etag(served), hdrs.CONTENT_TYPE: served.mime, "X-Accel-Redirect": where})
        return web.Response(headers=told)
    try:
        file = files.open(served.key)
    except FileNotFoundError:
        raise web.HTTPNotFound from None
    if file is None:
        return await _elsewhere(store, served, config)
    return await answer(request, file, mime=served.mime, etag=_etag(served), headers=_headers(served))


def _etag(served: Served) -> str:
    return f'"{served.key.sha256}"'


def _headers(served: Served) -> CIMultiDict[str]:
    out = CIMultiDict(_PUBLIC if served.public else _CLOSED)
    if served.filename is not None:
        out[hdrs.CONTENT_DISPOSITION] = f"attachment; filename*=UTF-8''{quote(served.filename, safe='')}"
    return out


async def _elsewhere(store: BlobStore, served: Served, config: ServeConfig) -> web.Response:
    if served.public and config.media_url is not None and served.filename is None:
        where = f"{config.media_url.rstrip('/')}/{served.key}"
        kept = {"Location": where, "Cache-Control": "public, max-age=3600"}
        return web.Response(status=302, headers=kept | _OPEN)
    link = await store.link(served.key, expires_s=config.link_s, mime=served.mime, filename=served.filename)
    if link is None:
        raise web.HTTPNotFound
    if served.public:
        # A player may ask there for each part that it wants: at least nine tenths of the time are left.
        kept = {"Location": link, "Cache-Control": f"private, max-age={config.link_s // 10}"}
        return web.Response(status=302, headers=kept | _OPEN)
    return web.Response(status=302, headers={"Location": link, "Cache-Control": "no-store"})
