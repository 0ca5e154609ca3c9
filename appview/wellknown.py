"""The small fixed addresses: health, DID document, robots, metrics."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from appview.gauges import IndexGauges
from appview.metrics import Metrics
from appview.service import Home, Service
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


def document_of(
    did: str, public_url: str | None, label_key: str | None = None, home: Home | None = None
) -> dict[str, object]:
    """The DID document of this service; with the multibase text of a key, a labeler's that signs with it;
    with a home, that of an account with a repo there."""
    endpoint = public_url or f"http://{unquote(did.removeprefix('did:web:'))}"
    services = [{"id": "#plyr_appview", "type": "PlyrAppView", "serviceEndpoint": endpoint}]
    document: dict[str, object] = {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "service": services,
    }
    method, methods = {"type": "Multikey", "controller": did}, list[dict[str, str]]()
    if label_key is not None:
        services.append({"id": "#atproto_labeler", "type": "AtprotoLabeler", "serviceEndpoint": endpoint})
        methods.append({"id": f"{did}#atproto_label", **method, "publicKeyMultibase": label_key})
    if home is not None:
        pds = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": home.pds}
        services.append(pds)
        key = home.signing_key.removeprefix("did:key:")
        methods.append({"id": f"{did}#atproto", **method, "publicKeyMultibase": key})
    return document | ({"verificationMethod": methods} if methods else {})


def label_key_of(document: Any) -> str | None:
    """The multibase text of what signs labels, in a DID document of a service like ours."""
    try:
        methods = document["verificationMethod"]
        return next(each["publicKeyMultibase"] for each in methods if each["id"].endswith("#atproto_label"))
    except (TypeError, KeyError, AttributeError, StopIteration):
        return None


def did_document(service: Service):
    """`/.well-known/did.json`: who this service is, asked at the host that its did:web names; 404 anywhere
    else (X11)."""
    did = service.config.service_did
    host = unquote((did or "").removeprefix("did:web:"))

    async def handle(request: web.Request) -> web.Response:
        if did is None or request.host.lower() != host.lower():
            raise web.HTTPNotFound(text="No DID document at this host.\n")
        try:
            key = None if service.labeler is None else await service.labeler.multibase()
        except ReadFailed:
            raise web.HTTPServiceUnavailable(text="The database cannot be reached.\n") from None
        document = document_of(did, service.config.public_url, key, service.config.home)
        return answered(orjson.dumps(document), None)

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
