"""`com.atproto.label.*`: our labels, to be asked for. Rule L2."""

from __future__ import annotations

import orjson

from appview.errors import InvalidRequest, MethodNotImplemented
from appview.moderation.labels import to_json
from appview.service import Call, Handler


async def query_labels(call: Call) -> bytes:
    """What holds now. `*` stands for anything at the end of a pattern; anywhere else it is refused."""
    labeler = call.service.labeler
    if labeler is None:
        raise MethodNotImplemented
    patterns, limit = call.params["uriPatterns"], call.params["limit"]
    if any("*" in pattern[:-1] for pattern in patterns):
        raise InvalidRequest("uriPatterns: * may stand at the end only")
    cursor = call.params.get("cursor", "0")
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise InvalidRequest("Malformed cursor")
    rows = await labeler.query(patterns, call.params.get("sources") or None, after=int(cursor), limit=limit)
    answer: dict[str, object] = {"labels": [to_json(row) for row in rows]}
    if len(rows) == limit:
        answer["cursor"] = str(rows[-1].seq)
    return orjson.dumps(answer)


# Under their whole names: they are the network's, not ours.
METHODS: dict[str, Handler] = {"com.atproto.label.queryLabels": query_labels}
