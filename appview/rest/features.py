"""Whom a track features, as a form names them: a JSON array of handles or DIDs."""

from __future__ import annotations

from typing import cast

import orjson

from appview.rest.answers import Refused
from lexicons.syntax import Did, is_did
from storage import people
from storage.reader import Reads

MOST_FEATURES = 10


async def features_of(reads: Reads, text: str) -> list[Did]:
    """The DIDs of those named, each once. Raises Refused 400."""
    if not text:
        return []
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"invalid JSON in features: {error}") from None
    if not isinstance(value, list):
        raise Refused(400, "features must be a JSON array of handles")
    named = cast("list[object]", value)
    if len(named) > MOST_FEATURES:
        raise Refused(400, f"maximum {MOST_FEATURES} featured artists allowed")
    names: list[str] = []
    for name in named:
        if not isinstance(name, str):
            raise Refused(400, "each feature must be a string handle")
        names.append(name.strip().removeprefix("@"))
    found = await people.dids(reads, [name for name in names if not name.startswith("did:")])
    dids: dict[Did, None] = {}
    for name in names:
        did = name if name.startswith("did:") and is_did(name) else found.get(name)
        if did is None:
            raise Refused(400, f"failed to resolve handle: {name}")
        dids[Did(did)] = None
    return list(dids)
