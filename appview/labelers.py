"""Whose labels a client wants to see: `atproto-accept-labelers`, and what we say to it. Pure.

    absent                            the service's own choice
    atproto-accept-labelers:          nobody's
    did:plc:a;redact, did:plc:b       these two; what `a` takes down is left out altogether

It is a list of RFC 8941. One that is malformed is an error, never taken for absent: whoever asked to be
spared something must not be shown it (rule X12, T46). <https://atproto.com/specs/label>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import http_sf

from appview.errors import InvalidRequest
from lexicons.syntax import Did, is_did

ACCEPT = "atproto-accept-labelers"
CONTENT = "Atproto-Content-Labelers"
MOST = 20
MAX_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Labeler:
    """An account whose labels count; `redact`: its takedowns, too."""

    did: Did
    redact: bool = False


def read_labelers(lines: Sequence[str], default: tuple[Labeler, ...] = ()) -> tuple[Labeler, ...]:
    """The labelers that the header's lines name, in their order, each once, the first 20 of them; `default`
    if there is no such line. Raises InvalidRequest."""
    if not lines:
        return default
    text = ", ".join(line for line in lines if line.strip())
    found: dict[Did, bool] = {}
    try:
        items = http_sf.parse(text.encode("ascii"), tltype="list") if len(text) <= MAX_BYTES else None
    except ValueError:  # also of the encoding
        items = None
    if not isinstance(items, list):
        raise InvalidRequest(f"{ACCEPT} is no list by RFC 8941")
    for name, params in cast("list[tuple[object, dict[str, object]]]", items):
        if not isinstance(name, str | http_sf.Token) or not is_did(str(name)):
            raise InvalidRequest(f"{ACCEPT} names something else than a DID")
        did = Did(str(name))
        found[did] = found.get(did, False) or params.get("redact") is True
    return tuple([Labeler(did, redact) for did, redact in list(found.items())[:MOST]])


def shown(labelers: Sequence[Labeler]) -> str:
    """The header that says whose labels are in an answer."""
    return ", ".join(f"{each.did};redact" if each.redact else each.did for each in labelers)
