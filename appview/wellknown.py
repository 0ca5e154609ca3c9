"""The small fixed addresses: health, DID document, robots, metrics."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote

import orjson
from aiohttp import web

from appview.gauges import IndexGauges
from appview.metrics import Metrics
from appview.service import Service
from appview.xrpc.dispatch import answered
from storage import stats
from storage.reader import ReadFailed

HEALTH_TIMEOUT_S = 1.5


def health(service: Service):
    """`/xrpc/_health`: 200 with the version, or 503 when the database does not answer in time (X17)."""

    async def handle(request: web.Request) -> web.Response:
        answer = {"version": service.config.version}
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                await stats.alive(service.reads)
        except (ReadFailed, TimeoutError):
            return answered(orjson.dumps(answer | {"error": "The database cannot be reached."}), None, 503)
        return answered(orjson.dumps(answer), None)

    return handle


def document_of(did: str, public_url: str | None) -> dict[str, object]:
    """The DID document of this service."""
    endpoint = public_url or f"http://{unquote(did.removeprefix('did:web:'))}"
    return {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "service": [{"id": "#plyr_appview", "type": "PlyrAppView", "serviceEndpoint": endpoint}],
    }


def did_document(service: Service):
    """`/.well-known/did.json`: who this service is, asked at the host that its did:web names; 404 anywhere
    else (X11)."""
    did = service.config.service_did
    host = unquote((did or "").removeprefix("did:web:"))

    async def handle(request: web.Request) -> web.Response:
        if did is None or request.host.lower() != host.lower():
            raise web.HTTPNotFound(text="No DID document at this host.\n")
        return answered(orjson.dumps(document_of(did, service.config.public_url)), None)

    return handle


async def robots(request: web.Request) -> web.Response:
    """`/robots.txt`: pages are welcome to be read, the API is not worth crawling."""
    return web.Response(text="User-agent: *\nDisallow: /xrpc/\n")


def metrics_text(metrics: Metrics, gauges: IndexGauges):
    """`/metrics`: what this process did, and how the index is doing."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(
            body=metrics.text() + await gauges.text(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    return handle
