"""`fm.plyr.server.*`: about this server."""

from __future__ import annotations

from typing import Any

import orjson

from appview.service import Call, Handler
from appview.views import iso
from storage import stats


async def describe(call: Call) -> bytes:
    catalog, config = call.service.catalog, call.service.config
    answer: dict[str, Any] = {
        "version": config.version,
        "namespace": catalog.namespace,
        "collections": sorted(catalog.collections.own),
        "methods": sorted([*catalog.queries(), *catalog.procedures(), *catalog.subscriptions()]),
        "sources": [
            {"url": row.url, "seq": row.seq, "updatedAt": iso(row.updated_at).decode(), "ageS": row.age_s}
            for row in await stats.sources(call.reads)
        ],
    }
    if config.service_did is not None:
        answer["did"] = config.service_did
    return orjson.dumps(answer)


async def get_stats(call: Call) -> bytes:
    return orjson.dumps((await call.service.totals.get()).counts())


METHODS: dict[str, Handler] = {
    "server.describe": describe,
    "server.getStats": get_stats,
}
