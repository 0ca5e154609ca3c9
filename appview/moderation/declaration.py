"""The record by which a labeler tells the network which labels it gives (`app.bsky.labeler.service`); pure.

Clients look for it in the repo of the DID that labels are said by, under the key `self`. What it says of a
label is for people: what it is called, and what a client does about it unless told otherwise. Values of
everybody's (`porn`, `sexual`) are explained by clients themselves.

    <https://docs.bsky.app/docs/advanced-guides/moderation#labelers>
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from appview.messages import time_text
from appview.moderation.actions import COPYRIGHT, LABELS
from lexicons.catalog import Collections
from lexicons.syntax import Nsid, Rkey

COLLECTION = Nsid("app.bsky.labeler.service")
RKEY = Rkey("self")
# By what it says of a track or an account: ours alone.
DEFINED: Mapping[str, Mapping[str, Any]] = {
    LABELS[COPYRIGHT]: {
        "severity": "alert",
        "blurs": "none",
        "defaultSetting": "warn",
        "adultOnly": False,
        "locales": [
            {
                "lang": "en",
                "name": "Copyright violation",
                "description": "A person here found that this uses somebody else's work without leave.",
            }
        ],
    }
}
EVERYBODYS = ("porn", "sexual")


def record(collections: Collections, created_at: datetime) -> dict[str, Any]:
    """What is published."""
    return {
        "$type": COLLECTION,
        "policies": {
            "labelValues": [*DEFINED, *EVERYBODYS],
            "labelValueDefinitions": [{"identifier": val, **said} for val, said in DEFINED.items()],
        },
        "subjectTypes": ["account", "record"],
        "subjectCollections": sorted(collections.own),
        "createdAt": time_text(created_at),
    }


def is_same(published: object, ours: Mapping[str, Any]) -> bool:
    """Whether it says the same, whenever that was said first."""
    if not isinstance(published, dict):
        return False
    return {**published, "createdAt": None} == {**ours, "createdAt": None}
