"""What authorization servers fetch about us: the client's metadata and the public halves of its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import hdrs, web

from appview.auth.metadata import JWKS_PATH, METADATA_PATH, App
from appview.rest.answers import Refused, rest
from appview.rest.spec import described

_HEADERS = {hdrs.CACHE_CONTROL: "public, max-age=300", hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}


class ClientDocuments:
    """`client`: who we are now, or None where nobody can sign in."""

    def __init__(self, client: Callable[[], App | None]) -> None:
        self._client = client

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get(METADATA_PATH, rest(self.metadata))
        router.add_get(JWKS_PATH, rest(self.jwks))

    @described(
        "Who we are, to authorization servers", answer=dict[str, Any], errors={404: "nobody can sign in here"}
    )
    async def metadata(self, request: web.Request) -> web.StreamResponse:
        client = self._client()
        if client is None:
            raise Refused(404, "nobody can sign in at this address")
        return _document(client.document())

    @described(
        "The public halves of our keys", answer=dict[str, Any], errors={404: "nobody can sign in here"}
    )
    async def jwks(self, request: web.Request) -> web.StreamResponse:
        client = self._client()
        if client is None or client.keys is None:
            raise Refused(404, "JWKS not available - this is a public client")
        return _document(client.keys.jwks())


def _document(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json", headers=_HEADERS)
